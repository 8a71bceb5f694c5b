"""The contracts: what the golden fixtures of ``src/contracts/fixtures`` hold is read, written and refused here as there.

What is in ``valid`` is accepted and comes back equal; what is in ``invalid`` (``{"problems": [path, …], "value": …}``) is
refused at those paths. ``test/unit/contracts/conformance.test.ts`` reads the same files, and compares both languages
on mutations of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from longhaul_trainer.contracts import CONTRACTS, ContractError, dump, parse

FIXTURES = Path(__file__).resolve().parents[3] / "src/contracts/fixtures"


def fixtures(kind: str) -> list[Any]:
    files = sorted((FIXTURES / kind).rglob("*.json"))
    assert files, f"no fixtures below {FIXTURES / kind}"
    return [pytest.param(file, id=f"{file.parent.name}/{file.stem}") for file in files]


def test_every_contract_has_fixtures() -> None:
    for kind in ("valid", "invalid"):
        assert {folder.name for folder in (FIXTURES / kind).iterdir()} == set(CONTRACTS)


@pytest.mark.parametrize("file", fixtures("valid"))
@pytest.mark.parametrize("compact", [False, True])
def test_what_is_valid_is_accepted_and_comes_back_equal(file: Path, compact: bool) -> None:
    text = file.read_bytes()
    value = parse(CONTRACTS[file.parent.name], text)
    assert json.loads(dump(value, compact=compact)) == json.loads(text)


@pytest.mark.parametrize("file", fixtures("invalid"))
def test_what_is_invalid_is_refused_with_the_path_of_every_problem(file: Path) -> None:
    fixture = json.loads(file.read_bytes())
    with pytest.raises(ContractError) as refused:
        parse(CONTRACTS[file.parent.name], json.dumps(fixture["value"]).encode())
    problems = str(refused.value).removeprefix("object is invalid: ").split("; ")
    assert sorted({problem.split(": ")[0] for problem in problems}) == fixture["problems"]
