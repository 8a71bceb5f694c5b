"""What checkpoints cost a training stage: `python bench/save.py [--steps 20] [--every 5]`.

Trains the shipped base model as the tiny preset's stages do (16,384 tokens a step), with a checkpoint every few steps,
against an S3 server on this machine, and reports from the job's own events: seconds for which training stood still per
checkpoint, their share of the step time between checkpoints, and by how much steps beside an upload are slower.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from datetime import datetime

from bench_support import s3_server

from job_support import TOKENIZER, StageRun, publish_dataset, publish_folder, samples, spec_of
from longhaul_trainer.model.config import config_json, json_bytes, read_config
from longhaul_trainer.store.client import Store

BATCH_TOKENS = 16_384


def stage(store: Store, length: int, steps: int, every: int) -> StageRun:
    """A stage of rows of `length` tokens, cut into documents."""
    base = publish_folder(store, f"s3://bench/{length}/base", TOKENIZER)
    architecture = read_config((TOKENIZER / "config.json").read_bytes())
    config = json_bytes(config_json(dataclasses.replace(architecture, max_position_embeddings=length)))
    rows = samples(steps * BATCH_TOKENS // length, length, architecture.vocab_size, 3)
    dataset = publish_dataset(store, f"s3://bench/{length}/data", rows, architecture.vocab_size, 8)
    data = {
        "dataset": dataset.model_dump(mode="json", by_alias=True),
        "sequenceLengthTokens": length,
        "globalBatchTokens": BATCH_TOKENS,
        "steps": steps,
    }
    start = {"from": "model", "model": base.model_dump(mode="json")}
    run = StageRun(store, spec_of(f"s3://bench/{length}/stages/01-stage", start, config, store, base, data))
    run.change({"checkpoints.everySteps": every})
    return run


def report(run: StageRun, length: int, every: int) -> None:
    """Trains, and prints what its events say."""
    outcome = run.run_quietly()
    assert outcome.result == "trained", outcome
    commits = [event for event in run.events() if event.type == "commit"]
    steps = run.steps()[1:]
    spans = [(moment(commit.at) - commit.seconds, moment(commit.at)) for commit in commits]
    beside = [
        step.seconds
        for step in steps
        if any(start < moment(step.at) and moment(step.at) - step.seconds < end for start, end in spans)
    ]
    alone = [step.seconds for step in steps if step.seconds not in beside]
    step, stall = statistics.median(alone), statistics.median(commit.stall_seconds for commit in commits)
    print(
        f"rows of {length}: {commits[0].bytes / 1e6:.1f} MB, save {statistics.median(c.seconds for c in commits):.3f} s, "
        f"stall {stall * 1e3:.1f} ms = {stall / (step * every):.2%} of {every} steps of {step:.2f} s; "
        f"a step beside an upload takes {statistics.median(beside):.2f} s",
        flush=True,
    )


def moment(instant: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(instant).timestamp()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=21)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096])
    arguments = parser.parse_args()
    with s3_server():
        store = Store.from_environment()
        for length in arguments.lengths:
            report(stage(store, length, arguments.steps, arguments.every), length, arguments.every)


if __name__ == "__main__":
    main()
