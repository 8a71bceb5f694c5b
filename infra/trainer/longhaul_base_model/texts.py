"""The texts the shipped base model is trained on: books, code and documentation that lie in this project."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HELD_OUT_SHARE = 0.05
HELD_OUT_SALT = b"longhaul.held-out/1\n"
PACKAGE_CHARACTERS = 200_000
FILE_CHARACTERS = 60_000
CODE_SUFFIXES = {".ts", ".mts", ".js", ".mjs", ".cjs", ".py"}
SKIPPED_PARTS = {"node_modules", "__pycache__", "testdata", "locale", "locales", "_vendor"}


@dataclass(frozen=True)
class Document:
    """One text with its domain (`books`, `code` or `docs`) and a name that tells where it is from."""

    domain: str
    name: str
    text: str


def held_out(text: str) -> bool:
    """Whether curation sets a document of this text aside for evaluation (src/curation/read/split.ts has the same rule)."""
    digest = hashlib.sha256(HELD_OUT_SALT + text.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 < HELD_OUT_SHARE


def books(folder: Path) -> Iterator[Document]:
    """Every book that isn't held out by the hash of its text."""
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        if not held_out(text):
            yield Document("books", path.name, text)


def _packages(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if not path.is_dir() or path.name.startswith(".") or path.name.endswith((".dist-info", ".libs")):
            continue
        if path.name.startswith("@"):
            yield from (scoped for scoped in sorted(path.iterdir()) if scoped.is_dir())
        else:
            yield path


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.splitlines()
    if not lines or len(text) > FILE_CHARACTERS or max(map(len, lines)) > 400 or "sourceMappingURL=data" in text:
        return None
    return text


def _files(package: Path, suffixes: set[str]) -> Iterator[str]:
    taken = 0
    for path in sorted(package.rglob("*")):
        if path.suffix not in suffixes or ".min." in path.name or SKIPPED_PARTS & set(path.relative_to(package).parts):
            continue
        text = _read(path)
        if text is None or len(text) < 200 or held_out(text):
            continue
        yield text
        taken += len(text)
        if taken > PACKAGE_CHARACTERS:
            return


def packages(root: Path, ecosystem: str, set_aside: frozenset[str]) -> Iterator[Document]:
    """Code and documentation of every installed package but those in `set_aside`, whose code curation holds out."""
    for package in _packages(root):
        name = package.relative_to(root).as_posix()
        if name in set_aside:
            continue
        for domain, suffixes in (("code", CODE_SUFFIXES), ("docs", {".md", ".rst"})):
            text = "\n".join(_files(package, suffixes))
            if text:
                yield Document(domain, f"{ecosystem}/{name}", text)


def digest(documents: list[Document]) -> str:
    """SHA-256 over the documents' domains, names and texts, in order."""
    total = hashlib.sha256()
    for document in documents:
        total.update(f"{document.domain}\0{document.name}\0{document.text}\0".encode())
    return f"sha256:{total.hexdigest()}"
