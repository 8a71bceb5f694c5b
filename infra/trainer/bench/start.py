"""How long a job takes from its launch to its first optimizer step, by part: `python bench/start.py [--repeats 5]`.

Launches whole attempts of a stage of the shipped base model, from a model folder and from a checkpoint, against an S3
server on this machine; medians, wall seconds, bytecode compiled. Parts, as the attempt's events mark them:

  launch      process started to the worker's first word: interpreter, the wrapper's imports, spec.json
  import      to everything imported
  load        to model, optimizer, checkpoint and data in place
  first step  to the first optimizer step done (beside it: the median of the others)
  processor   seconds of processor time, of all threads and both processes, when the first step was last seen missing;
              on a machine that does other work only this says much
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from bench_support import s3_server

from job_support import TOKENIZER, StageRun, publish_dataset, publish_folder, samples, spec_of
from longhaul_trainer.model.config import read_config
from longhaul_trainer.store.client import Store

PARTS = ("launch", "import", "load", "first step", "total", "other steps", "processor")
ROWS = 4


def stage(store: Store, name: str, steps: int) -> StageRun:
    """A stage of the shipped base model: rows of its own length, `ROWS` in a step."""
    base = publish_folder(store, f"s3://bench/{name}/base", TOKENIZER)
    config = (TOKENIZER / "config.json").read_bytes()
    architecture = read_config(config)
    length, vocabulary = architecture.max_position_embeddings, architecture.vocab_size
    rows = samples(ROWS * steps, length, vocabulary, 3)
    data = {
        "dataset": publish_dataset(store, f"s3://bench/{name}/data", rows, vocabulary).model_dump(
            mode="json", by_alias=True
        ),
        "sequenceLengthTokens": length,
        "globalBatchTokens": ROWS * length,
        "steps": steps,
    }
    start = {"from": "model", "model": base.model_dump(mode="json")}
    return StageRun(store, spec_of(f"s3://bench/{name}/stages/01-stage", start, config, store, base, data))


def processor_seconds(wrapper: int) -> float:
    """Processor time of a process and its children so far."""
    ticks = 0
    try:
        children = Path(f"/proc/{wrapper}/task/{wrapper}/children").read_text().split()
        for pid in (str(wrapper), *children):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    except OSError:  # it has just ended
        return 0.0
    return ticks / os.sysconf("SC_CLK_TCK")


def parts(run: StageRun) -> dict[str, float]:
    """Launches an attempt, stops it after a few steps, and takes its start-up apart."""
    launched = time.time()
    process = run.start()
    first = run.epoch()
    processor = 0.0
    while process.poll() is None and (done := len(run.steps(first))) < 3:
        if not done:
            processor = processor_seconds(process.pid)
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    at: dict[str, float] = {}
    for event in run.events(first):
        name = event.phase if event.type == "phase" else event.type
        at.setdefault(name, datetime.fromisoformat(event.at).timestamp())
    edges = [launched, at["import"], at["load"], at["first-step"], at["step"]]
    took = [later - earlier for earlier, later in pairwise(edges)]
    others = [event.seconds for event in run.steps(first)[1:]]
    return dict(zip(PARTS, [*took, at["step"] - launched, statistics.median(others), processor], strict=True))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with s3_server():
        store = Store.from_environment()
        measured: dict[str, list[dict[str, float]]] = {"from a model": [], "from a checkpoint": []}
        for repeat in range(arguments.repeats + 1):
            run = stage(store, f"{repeat}", 400)
            run.change({"checkpoints.everySteps": 100})
            for kind in measured:
                took = parts(run)
                if repeat:  # the first round fills the file cache
                    measured[kind].append(took)
        print(" " * 20 + "".join(f"{part:>13}" for part in PARTS))
        for kind, rounds in measured.items():
            medians = [statistics.median(took[part] for took in rounds) for part in PARTS]
            print(f"{kind:20}" + "".join(f"{seconds:11.3f} s" for seconds in medians), flush=True)


if __name__ == "__main__":
    main()
