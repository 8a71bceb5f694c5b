"""Exports models as a stage does that has trained nothing: `python export_bases.py`, a line of JSON per model.

Each line has `base` (a model folder), `config` (config.json to train with), `output`, `weights` and `shardBytes`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from longhaul_trainer.model.config import read_config
from longhaul_trainer.model.export import model_files, write_files
from longhaul_trainer.model.llama import build_model
from longhaul_trainer.model.weights import load_model_weights

if __name__ == "__main__":
    for line in sys.stdin:
        job = json.loads(line)
        base = Path(job["base"])
        model = build_model(read_config(Path(job["config"]).read_bytes()), initialize=False)
        load_model_weights(base, {file.name for file in base.iterdir()}, model)
        write_files(Path(job["output"]), model_files(model, base, job["weights"], job["shardBytes"]))
