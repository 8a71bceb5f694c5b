"""transformers 4.46 beside the current one: a folder to put before the environment's own packages on PYTHONPATH.

`python old_transformers.py` makes the folder if it isn't there and prints its path. Its packages are hash-pinned
(transformers-4.46.txt); whatever else they need is the trainer's own, PyTorch above all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

LOCK = Path(__file__).with_name("transformers-4.46.txt")
STATE = Path(__file__).resolve().parents[3] / ".longhaul"


def old_transformers() -> Path:
    """The folder, made once per lock file and Python. It appears whole, however many processes make it at once."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = STATE / f"transformers-4.46-py{python}-{key}"
    if folder.is_dir():
        return folder
    made = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
    try:
        subprocess.run([*_installer(), "--target", str(made)], check=True, stdout=sys.stderr)
        with suppress(OSError):  # another process was quicker
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _installer() -> list[str]:
    options = ["install", "--quiet", "--no-deps", "--require-hashes", "-r", str(LOCK)]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *options, "--disable-pip-version-check"]
    uv = shutil.which("uv") or shutil.which("uv", path=str(STATE / "bin"))  # the latter is of the set-up
    if uv is None:
        raise RuntimeError("neither pip nor uv is here to install transformers 4.46 with")
    return [uv, "pip", *options, "--python", sys.executable]


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    print(old_transformers())
