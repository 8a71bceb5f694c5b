"""What curation takes for documentation in Python sources."""

from __future__ import annotations

import ast
import asyncio.base_events
import collections
import inspect
import json
import subprocess
import sys
import typing
from pathlib import Path
from types import ModuleType

import pytest

from longhaul_curation import docstrings

MODULES = [asyncio.base_events, collections, typing, ast, subprocess]


@pytest.mark.parametrize("module", MODULES, ids=lambda one: one.__name__)
def test_are_those_of_every_definition_in_the_order_of_the_source(module: ModuleType) -> None:
    source = inspect.getsource(module)
    found = list(docstrings.docstrings(source))
    definitions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, docstrings.DOCUMENTED)]
    definitions.sort(key=lambda node: getattr(node, "lineno", 0))
    expected = [(getattr(node, "name", None), ast.get_docstring(node)) for node in definitions]
    assert found == [(name, text) for name, text in expected if text is not None]
    assert len(found) > 10


def test_needs_nothing_but_a_python() -> None:
    sources = [
        '"""Module."""',
        "def (",
        'class C:\n    """Ünï 🙂\u2028"""',
        "x = " + "(" * 100_000,
        "x = '\0'",
        "1 / 0",
    ]
    asked = "".join(json.dumps({"source": source}) + "\n" for source in sources)
    command = [sys.executable, "-I", "-S", "-W", "ignore", docstrings.__file__]
    answered = subprocess.run(command, input=asked.encode(), capture_output=True, check=True, cwd=Path("/"))
    assert answered.stderr == b""
    hello, *answers = [json.loads(line) for line in answered.stdout.splitlines()]
    assert hello == {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    assert [answer.get("docstrings") for answer in answers] == [
        [[None, "Module."]],
        None,
        [["C", "Ünï 🙂\u2028"]],
        None,
        None,
        [],
    ]
    assert all(answer["problem"].startswith("not Python: ") for answer in answers if "problem" in answer)
