"""Speed of one optimizer step of the tiny model on this machine: `python bench/step.py [--threads 2] [--repeats 5]`.

Prints, for every kind of row that the tiny recipe has, the median tokens per second, seconds of a step, and processor
seconds of a step (of all threads). On a machine that does other work only the last says much.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import torch
from bench_support import ROOT

from longhaul_trainer.contracts import Runtime
from longhaul_trainer.model.attention import document_layout
from longhaul_trainer.model.config import read_config
from longhaul_trainer.model.llama import Precision, build_model
from longhaul_trainer.model.numerics import configure
from longhaul_trainer.train.optim import adamw
from longhaul_trainer.train.stage import MICRO_BATCH_TOKENS
from longhaul_trainer.train.step import MicroBatch, next_token_labels, train_step
from trainer_support import OPTIMIZER

CONFIG = ROOT.parents[1] / "models" / "base-tiny" / "config.json"
SHORT = (37, 150, 64, 211, 90, 12, 300, 160)
"""Lengths of many short documents, which sum to 1,024."""

CASES: dict[str, tuple[int, list[int]]] = {
    "1024: one document": (1024, [1024]),
    "1024: short documents": (1024, list(SHORT)),
    "4096: one document": (4096, [4096]),
    "4096: four of 1024": (4096, [1024] * 4),
    "4096: short documents": (4096, list(SHORT) * 4),
}
"""Row length and document lengths of a row, by name."""


def micro_batch(length: int, documents: list[int], vocabulary: int) -> MicroBatch:
    """As many equal rows as a trainer puts into one micro-batch."""
    rows = max(1, MICRO_BATCH_TOKENS // length)
    ends = torch.tensor(documents).cumsum(0).tolist()
    bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    layout = document_layout([bounds] * rows, length)
    tokens = torch.randint(0, vocabulary, (rows, length))
    return MicroBatch(tokens, next_token_labels(tokens, layout), layout)


def seconds(length: int, documents: list[int], precision: Precision, repeats: int) -> Iterator[tuple[float, float]]:
    """Wall and processor seconds of `repeats` steps of one micro-batch, after one to warm up."""
    model = build_model(read_config(CONFIG.read_bytes())).train()
    optimizer = adamw(model.named_parameters(), OPTIMIZER)
    batch = micro_batch(length, documents, model.config.vocab_size)
    for repeat in range(repeats + 1):
        started, processor = time.perf_counter(), time.process_time()
        train_step(model, optimizer, [batch], 1e-4, 1.0, precision)
        if repeat:
            yield time.perf_counter() - started, time.process_time() - processor


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), nargs="+", default=["float32"])
    parser.add_argument("--case", default="", help="only cases whose name contains this")
    parser.add_argument("--fast", action="store_true", help="without deterministic kernels")
    arguments = parser.parse_args()
    for precision in arguments.precision:
        configure(Runtime(device="cpu", precision=precision, strict=not arguments.fast, threads=arguments.threads), 0)
        for name, (length, documents) in CASES.items():
            if arguments.case not in name:
                continue
            walls, processors = zip(*seconds(length, documents, precision, arguments.repeats), strict=True)
            wall, processor = statistics.median(walls), statistics.median(processors)
            speed = f"{MICRO_BATCH_TOKENS / wall:9,.0f} tokens/s  {wall:6.3f} s  {processor:6.3f} processor s"
            print(f"{precision}  {name:24} {speed}", flush=True)


if __name__ == "__main__":
    main()
