"""Fixtures shared by the trainer's tests: a real S3 server per session, a bucket and a stage per test."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ACCESS_KEY, SECRET_KEY = "longhaul-test", "longhaul-test-secret"


@dataclass(frozen=True)
class S3Server:
    """A running server: where it listens, and the folder its buckets lie in."""

    endpoint: str
    folder: Path


def find_versitygw() -> str:
    """The S3 server's binary: LONGHAUL_VERSITYGW, .longhaul/bin, or the PATH."""
    candidates = [os.environ.get("LONGHAUL_VERSITYGW"), str(REPOSITORY / ".longhaul/bin/versitygw")]
    for candidate in [*candidates, shutil.which("versitygw")]:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise RuntimeError("versitygw is missing: run `npm run setup`, or set LONGHAUL_VERSITYGW to its path")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """versitygw on a temporary folder and a port of the system's choice; the environment names it for the session."""
    from listening import bound_port

    folder = tmp_path_factory.mktemp("s3")
    server = subprocess.Popen(
        [find_versitygw(), "--quiet", "--port", "127.0.0.1:0", "posix", str(folder)],
        env={"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = bound_port(server)
        (folder / "test").mkdir()
        os.environ.update(
            LONGHAUL_S3_ENDPOINT=f"http://127.0.0.1:{port}",
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        )
        yield S3Server(f"http://127.0.0.1:{port}", folder)
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def prefix(s3_server: S3Server) -> str:
    """A fresh prefix in the test bucket."""
    return f"s3://test/{secrets.token_hex(6)}"


@pytest.fixture
def store(prefix: str) -> Any:
    """The store that the environment names."""
    from longhaul_trainer.store.client import Store

    return Store.from_environment()


@pytest.fixture
def urls(prefix: str) -> Any:
    """The keys of a stage of its own."""
    from longhaul_trainer.contracts.layout import StageUrls

    return StageUrls(f"{prefix}/runs/r/stages/01-a")


@pytest.fixture
def stage(prefix: str, store: Any) -> Iterator[Any]:
    """Makes stages, as `job_support.make_stage` does, and leaves no process of theirs behind."""
    from job_support import StageRun, make_stage

    made: list[StageRun] = []

    def make(*arguments: Any, **options: Any) -> StageRun:
        made.append(make_stage(store, prefix, *arguments, **options))
        return made[-1]

    yield make
    for run in made:
        run.end()
