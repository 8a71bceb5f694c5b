"""Rows of a dataset as the micro-batches of a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from longhaul_trainer.data.dataset import Row
from longhaul_trainer.errors import DataFailure
from longhaul_trainer.model.attention import document_layout
from longhaul_trainer.train.step import MicroBatch, next_token_labels


def make_micro_batch(
    rows: Sequence[Row], *, document_masking: bool, masked_objective: bool, device: torch.device | str = "cpu"
) -> MicroBatch:
    """Rows as tensors with labels. Without `document_masking` every row is one document.

    Raises DataFailure when a row's bounds don't cover it.
    """
    length = len(rows[0].tokens)
    tokens = torch.from_numpy(np.stack([row.tokens for row in rows]).astype(np.int64)).to(device)
    bounds = [row.bounds if document_masking else ((0, length),) for row in rows]
    try:
        documents = document_layout(bounds, length, device)
    except ValueError as error:
        raise DataFailure(f"document bounds: {error}") from error
    mask = None
    if masked_objective:
        masks = [row.mask if row.mask is not None else np.ones(length, np.uint8) for row in rows]
        mask = torch.from_numpy(np.stack(masks)).to(device)
    return MicroBatch(tokens, next_token_labels(tokens, documents, mask), documents)
