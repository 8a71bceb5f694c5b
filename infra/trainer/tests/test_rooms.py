"""The rooms of the package import one way, as the README's table has them from top to bottom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import longhaul_trainer

ROOMS = (
    "contracts",
    "errors",
    "store",
    "model",
    "data",
    "checkpoint",
    "process",
    "train",
    "evaluate",
    "__main__",
)
PACKAGE = Path(longhaul_trainer.__file__).parent


def rooms_imported(source: str) -> Iterator[str]:
    """Rooms of the package that a module imports from, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside the package name their module in full"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == longhaul_trainer.__name__:
                yield rest.split(".")[0]


def upward(room: str, source: str) -> list[str]:
    """Rooms that a module of `room` must not import from."""
    return [other for other in rooms_imported(source) if ROOMS.index(other) > ROOMS.index(room)]


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_room_and_those_above_it(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert upward(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from longhaul_trainer.train.stage import Stage",
        "from longhaul_trainer import train",
        "import longhaul_trainer.train",
        "def late() -> None:\n    from longhaul_trainer.train import stage",
    ],
)
def test_an_import_that_runs_up_is_noticed(source: str) -> None:
    assert upward("store", source) == ["train"]
