"""Attention: every backend agrees with an explicit mask, and documents of a row are strangers to each other."""

from __future__ import annotations

import pytest
import torch

from longhaul_trainer.model.attention import attend, document_layout
from longhaul_trainer.model.llama import hidden_states
from longhaul_trainer.model.loss import IGNORE
from longhaul_trainer.train.step import next_token_labels
from trainer_support import small_model

LAYOUTS = {
    "one document per row": [[(0, 96)], [(0, 96)]],
    "equal documents": [[(0, 48), (48, 96)], [(0, 48), (48, 96)]],
    "ragged documents": [[(0, 1), (1, 40), (40, 96)], [(0, 90), (90, 95), (95, 96)]],
    "whole rows beside cut ones": [[(0, 96)], [(0, 33), (33, 96)]],
}


def states(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """query [2, 4, 96, 8] and key, value [2, 2, 96, 8]."""
    torch.manual_seed(seed)
    query, key, value = (torch.randn(2, heads, 96, 8, requires_grad=True) for heads in (4, 2, 2))
    return query, key, value


class TestBackendsAgree:
    @pytest.mark.parametrize("bounds", LAYOUTS.values(), ids=LAYOUTS.keys())
    def test_values_and_gradients_equal_those_of_an_explicit_mask(self, bounds: list[list[tuple[int, int]]]) -> None:
        layout = document_layout(bounds, 96)
        results = []
        for backend in ("documents", "dense"):
            inputs = states()
            output = attend(*inputs, 8**-0.5, layout, backend)
            (output * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
            results.append([output, *(tensor.grad for tensor in inputs)])
        for ours, oracle in zip(*results, strict=True):
            torch.testing.assert_close(ours, oracle, atol=2e-6, rtol=1e-5)

    def test_a_cached_prefix_gives_what_the_whole_row_gives(self) -> None:
        query, key, value = states()
        whole = attend(query, key, value, 0.3, None, "documents")
        for new in (1, 7):
            tail = attend(query[:, :, -new:], key, value, 0.3, None, "documents")
            torch.testing.assert_close(tail, whole[:, -new:], atol=2e-6, rtol=1e-5)


class TestDocumentsAreStrangers:
    def test_a_packed_document_gets_the_states_it_would_get_alone(self) -> None:
        model = small_model()
        tokens = torch.randint(0, 64, (1, 96))
        packed = hidden_states(model, tokens, document_layout([[(0, 40), (40, 96)]], 96))
        alone = hidden_states(model, tokens[:, 40:])
        torch.testing.assert_close(packed[:, 40:], alone, atol=1e-5, rtol=1e-5)

    def test_changing_one_document_changes_no_other(self) -> None:
        model = small_model()
        layout = document_layout([[(0, 40), (40, 96)]], 96)
        tokens = torch.randint(0, 64, (1, 96))
        before = hidden_states(model, tokens, layout)
        tokens[:, :40] = (tokens[:, :40] + 1) % 64
        after = hidden_states(model, tokens, layout)
        assert torch.equal(before[:, 40:], after[:, 40:])
        assert not torch.equal(before[:, :40], after[:, :40])

    def test_the_first_token_of_a_document_is_nobodys_label(self) -> None:
        tokens = torch.arange(12).view(2, 6)
        labels = next_token_labels(tokens, document_layout([[(0, 2), (2, 6)], [(0, 6)]], 6))
        assert labels.tolist() == [[1, IGNORE, 3, 4, 5, IGNORE], [7, 8, 9, 10, 11, IGNORE]]


class TestBadBounds:
    @pytest.mark.parametrize(
        "bounds", [[(0, 4), (5, 6)], [(0, 4)], [(0, 4), (3, 6)], [(0, 0), (0, 6)], [(0, 4), (4, 7)]]
    )
    def test_bounds_that_do_not_cover_the_row_are_refused(self, bounds: list[tuple[int, int]]) -> None:
        with pytest.raises(ValueError, match="row 0"):
            document_layout([bounds], 6)
