"""Training jobs: continued training or SFT, from the spec to the exported model. What it does is in `stage.py`.

This module imports no PyTorch: what the stage starts from is fetched while that is being imported.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from longhaul_trainer.contracts import TrainSpec
from longhaul_trainer.process.imports import collecting_later
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Trained
from longhaul_trainer.train.inputs import Fetching


def run(spec: TrainSpec, job: Job) -> Trained:
    """Trains a stage to its end, or raises: Stopped, Fenced, NumericsFailure, DataFailure, UserFailure, StoreError."""
    with tempfile.TemporaryDirectory(prefix="longhaul-", ignore_cleanup_errors=True) as folder:
        inputs = Path(folder) / "inputs"
        fetching = Fetching(spec, job, inputs)
        with collecting_later():
            from longhaul_trainer.train.stage import Stage
        job.phase("load")
        stage = Stage(spec, job, Path(folder))
        stage.load(fetching.wait())
        shutil.rmtree(inputs, ignore_errors=True)  # all of it is in memory now
        stage.train()
        return stage.finish()
