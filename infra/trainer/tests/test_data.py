"""Datasets as trainers read them: shards of mosaicml-streaming, rows in order, micro-batches with their labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job_support import Sample, mds_shard, publish_dataset, samples
from longhaul_trainer.data.dataset import Dataset, Row
from longhaul_trainer.data.mds import MdsError, MdsShard
from longhaul_trainer.errors import DataFailure
from longhaul_trainer.model.loss import IGNORE
from longhaul_trainer.store.client import Store
from longhaul_trainer.train.batches import make_micro_batch

GOLDEN = Path(__file__).resolve().parents[3] / "test/unit/curation/fixtures/mds"
"""Shards that mosaicml-streaming wrote, and the rows it was given; curation's writer is held to the same files."""


def read_all(folder: Path) -> list[dict[str, Any]]:
    shards = [MdsShard(path.read_bytes()) for path in sorted(folder.glob("*.mds"))]
    return [shard.row(index) for shard in shards for index in range(shard.rows)]


class TestShards:
    @pytest.mark.parametrize("kind", ["plain", "masked"])
    def test_the_rows_of_mosaicml_streaming_are_read_back(self, kind: str) -> None:
        expected = json.loads((GOLDEN / "rows.json").read_text(encoding="utf-8"))
        rows = read_all(GOLDEN / kind)
        assert len(rows) == len(expected)
        for row, want in zip(rows, expected, strict=True):
            assert row["input_ids"].tolist() == want["tokens"]
            assert row["indices"].flatten().tolist() == np.ravel(want["bounds"]).tolist()
            assert row["domain"] == want["domain"]
            assert ("mask" in row) == (kind == "masked")
            if kind == "masked":
                assert row["mask"].tolist() == want["mask"]

    @pytest.mark.parametrize("cut", [0, 5, 20, 100, -1])
    def test_a_shard_cut_short_is_refused(self, cut: int) -> None:
        with pytest.raises(MdsError):
            MdsShard(mds_shard(samples(2, 32))[:cut])


class TestDataset:
    def test_rows_come_in_order_over_the_borders_of_shards(self, prefix: str) -> None:
        store, rows = Store.from_environment(), samples(7, 32, documents=2, masked=True)
        dataset = Dataset(store, publish_dataset(store, prefix, rows, shards=3))
        for index, want in enumerate(rows):
            row = dataset.row(index)
            assert row.tokens.tolist() == want.tokens.tolist()
            assert list(row.bounds) == list(want.bounds)
            assert row.mask is not None and want.mask is not None
            assert row.mask.tolist() == want.mask.tolist()
        with pytest.raises(DataFailure, match="no row 7"):
            dataset.row(7)

    def test_a_token_beyond_the_vocabulary_is_refused_with_its_row(self, prefix: str) -> None:
        store, rows = Store.from_environment(), samples(2, 32)
        rows[1] = Sample(np.full(32, 64), rows[1].bounds)
        dataset = Dataset(store, publish_dataset(store, prefix, rows))
        with pytest.raises(DataFailure, match="row 1 has token 64"):
            dataset.row(1)


class TestMicroBatch:
    row = Row(np.arange(6), ((0, 2), (2, 6)), np.array([1, 1, 0, 0, 1, 1], np.uint8), "chat")

    def labels(self, *, document_masking: bool = True, masked_objective: bool = False) -> list[int]:
        batch = make_micro_batch([self.row], document_masking=document_masking, masked_objective=masked_objective)
        labels: list[int] = batch.labels[0].tolist()
        return labels

    def test_with_masking_a_document_predicts_only_its_own_tokens(self) -> None:
        assert self.labels() == [1, IGNORE, 3, 4, 5, IGNORE]

    def test_without_masking_the_row_is_one_document(self) -> None:
        assert self.labels(document_masking=False) == [1, 2, 3, 4, 5, IGNORE]
        batch = make_micro_batch([self.row], document_masking=False, masked_objective=False)
        assert batch.documents is not None
        assert batch.documents.whole

    def test_sft_predicts_only_tokens_whose_mask_is_one(self) -> None:
        assert self.labels(masked_objective=True) == [1, IGNORE, IGNORE, 4, 5, IGNORE]

    def test_bounds_that_do_not_cover_the_row_are_a_data_failure(self) -> None:
        row = Row(np.arange(6), ((0, 2), (3, 6)), None, "text")
        with pytest.raises(DataFailure, match="document bounds"):
            make_micro_batch([row], document_masking=True, masked_objective=False)
