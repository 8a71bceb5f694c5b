"""Reads JSON lines ``{"contract", "text"}`` and answers each with ``{"problems": [...], "written"}``, for the
conformance suite, which compares the two languages. ``written``: what this side writes for what it has read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from longhaul_trainer.contracts import CONTRACTS, ContractError, dump, parse

for line in sys.stdin:
    question = json.loads(line)
    try:
        value = parse(CONTRACTS[question["contract"]], question["text"].encode())
        answer = {"problems": [], "written": json.loads(dump(value))}
    except ContractError as error:
        answer = {"problems": str(error).removeprefix("object is invalid: ").split("; "), "written": None}
    print(json.dumps(answer))
