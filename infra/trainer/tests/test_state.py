"""A trainer's state as files: what any reader of safetensors makes of them."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load, save

from longhaul_trainer.model.parameters import tensor_file
from longhaul_trainer.store.transfers import Pieces


class TestTensorFile:
    def test_is_what_safetensors_writes_byte_for_byte(self) -> None:
        tensors = {
            "b": torch.arange(6, dtype=torch.float32).view(2, 3),
            "a/step": torch.tensor(3.0),
            "half": torch.arange(5, dtype=torch.bfloat16),
            "ä": torch.empty(0),
        }
        file = tensor_file(tensors)
        data = file.read(0, file.nbytes)
        assert data == save(tensors)
        for name, tensor in load(data).items():
            assert torch.equal(tensor, tensors[name])

    def test_shares_the_memory_of_its_tensors(self) -> None:
        tensor = torch.zeros(4)
        file = tensor_file({"a": tensor})
        tensor += 1
        assert torch.equal(load(file.read(0, file.nbytes))["a"], torch.ones(4))


class TestPieces:
    WHOLE = b"abcdefghij"

    @pytest.mark.parametrize("cuts", [(), (3,), (0, 3, 3, 9), (1, 2, 3, 4, 5)])
    def test_read_as_the_whole_would(self, cuts: tuple[int, ...]) -> None:
        edges = [0, *cuts, len(self.WHOLE)]
        pieces = Pieces([self.WHOLE[start:end] for start, end in pairwise(edges)])
        assert pieces.nbytes == len(self.WHOLE)
        for offset in range(len(self.WHOLE) + 1):
            for size in range(len(self.WHOLE) + 2):
                assert pieces.read(offset, size) == self.WHOLE[offset : offset + size], (offset, size)

    def test_may_be_none(self) -> None:
        assert (Pieces([]).nbytes, Pieces([]).read(0, 5)) == (0, b"")
