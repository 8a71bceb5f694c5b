"""``python -m longhaul_trainer``: one attempt of a job, as the environment describes it (see ``process/wrapper.py``)."""

from __future__ import annotations

import sys

from longhaul_trainer.contracts import EvaluateSpec, TrainSpec
from longhaul_trainer.process.imports import collecting_later
from longhaul_trainer.process.job import Job
from longhaul_trainer.process.outcome import Evaluated, Trained
from longhaul_trainer.process.wrapper import main


def run(spec: TrainSpec | EvaluateSpec, job: Job) -> Trained | Evaluated:
    """Does the work of a spec. What does it is imported only now: the wrapper, which stays small, never needs it."""
    if spec.kind == "train":
        with collecting_later():
            from longhaul_trainer.train import train
        return train.run(spec, job)
    with collecting_later():
        from longhaul_trainer.evaluate import evaluate
    return evaluate.run(spec, job)


if __name__ == "__main__":
    sys.exit(main(run))
