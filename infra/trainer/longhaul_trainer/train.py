"""Training jobs: continued training or SFT, from the spec to the exported model. What it does is in `stage.py`.

This module imports no PyTorch: what the stage starts from is fetched while that is being imported.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from .contracts import TrainSpec
from .imports import collecting_later
from .inputs import Fetching
from .job import Job, Trained


def run(spec: TrainSpec, job: Job) -> Trained:
    """Trains a stage to its end, or raises: Stopped, Fenced, NumericsFailure, DataFailure, UserFailure, StoreError."""
    with tempfile.TemporaryDirectory(prefix="longhaul-", ignore_cleanup_errors=True) as folder:
        fetching = Fetching(spec, job, Path(folder))
        with collecting_later():
            from .stage import Stage
        job.phase("load")
        stage = Stage(spec, job, Path(folder))
        stage.load(fetching.wait())
        stage.train()
        return stage.finish()
