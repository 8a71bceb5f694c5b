"""Writes a trained base model where it ships, with its provenance: `python -m longhaul_base_model.release --help`."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

from longhaul_base_model.train import CLIP, ROWS, SEED, config
from longhaul_trainer.checkpoint.state import load_weights
from longhaul_trainer.model.export import model_files, write_files
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.model.parameters import unique_parameters, weights_digest


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The training's log entries, oldest first."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def provenance(trained: Path, phases: Path, digest: str) -> dict[str, Any]:
    """What the model is made of, how, and what it scored: enough to make it again and to compare."""
    log = read_log(trained)
    keys = ("recall", "books", "code", "docs")
    return {
        "command": "python -m longhaul_base_model.train --output OUT --phases models/base-tiny/phases.json"
        " --books data/books --npm node_modules --python SITE_PACKAGES --set-aside models/base-tiny/set-aside.txt"
        " --threads 2",
        "recipe": {
            "seed": SEED,
            "rowsPerStep": ROWS,
            "clipNorm": CLIP,
            "phases": json.loads(phases.read_text("utf-8")),
        },
        "data": json.loads((trained / "data.json").read_text(encoding="utf-8")),
        "tokenizer": "sha256:" + hashlib.sha256((trained / "tokenizer.json").read_bytes()).hexdigest(),
        "weightsDigest": digest,
        "tokensTrained": log[-1]["tokens"],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "precision": "bfloat16 autocast, float32 weights and moments",
        "meaning": {
            "recall": "exact answers to lookups of up to 256 tokens",
            "books, code, docs": "nats per token on text held back from training, in rows of 256 tokens",
        },
        "scores": {key: log[-1][key] for key in keys},
        "course": [{"tokens": entry["tokens"], **{key: entry[key] for key in keys}} for entry in log],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m longhaul_base_model.release", description=__doc__)
    parser.add_argument("--trained", type=Path, required=True, help="output folder of longhaul_base_model.train")
    parser.add_argument("--phases", type=Path, required=True, help="the phases it was trained with")
    parser.add_argument("--folder", type=Path, required=True, help="where the model ships: models/base-tiny")
    arguments = parser.parse_args()
    model = build_model(config())
    load_weights(arguments.trained / "state", model)
    write_files(arguments.folder, model_files(model, arguments.trained))
    facts = provenance(arguments.trained, arguments.phases, weights_digest(unique_parameters(model)))
    (arguments.folder / "PROVENANCE.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
