"""Speed of checkpoints on their way to and from the store, against the AWS SDK: `python bench/transfer.py [--mib 512]`.

The same bytes to the same S3 server on this machine, in turn: boto3's managed transfers (parts of 64 MiB, the default
parts of 8 MiB; as many threads) and this package's store, which hashes every part besides. Medians in MiB/s of wall time
and of processor time of this process; the latter is what counts on a machine that does other work.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import boto3
from bench_support import s3_server
from boto3.s3.transfer import TransferConfig

from longhaul_trainer.contracts import StoredFile
from longhaul_trainer.store.client import Store
from longhaul_trainer.store.transfers import download_all, upload_all

MIB = 1024 * 1024
THREADS = 4


class Measured:
    """Wall and processor seconds of repeated work."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wall: list[float] = []
        self.processor: list[float] = []

    def run(self, work: Callable[[], object], count: bool) -> None:
        """Runs `work` once; `count`: and takes it down."""
        wall, processor = time.perf_counter(), time.process_time()
        work()
        if count:
            self.wall.append(time.perf_counter() - wall)
            self.processor.append(time.process_time() - processor)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where the server keeps its files (default: TMPDIR)")
    arguments = parser.parse_args()
    data = os.urandom(arguments.mib * MIB)
    with s3_server(arguments.folder) as endpoint, tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        store = Store.from_environment(parallel=THREADS)
        client = boto3.client("s3", endpoint_url=endpoint)
        source = Path(scratch) / "source"
        source.write_bytes(data)
        target = Path(scratch) / "target"
        configs = {
            "boto3, parts of 64 MiB": TransferConfig(multipart_chunksize=64 * MIB, max_concurrency=THREADS),
            "boto3, parts of 8 MiB": TransferConfig(max_concurrency=THREADS),
        }
        stored: list[StoredFile] = []

        def ours_up() -> None:
            stored[:] = upload_all(store, "s3://bench/ours", {"file": data})

        def ours_down() -> None:
            problems = download_all(store, "s3://bench/ours", stored, Path(scratch))[1]
            assert not problems, problems

        ups: dict[str, Callable[[], object]] = {"longhaul": ours_up}
        downs: dict[str, Callable[[], object]] = {"longhaul": ours_down}
        for name, config in configs.items():
            ups[name] = partial(client.upload_file, str(source), "bench", "theirs", Config=config)
            downs[name] = partial(client.download_file, "bench", "theirs", str(target), Config=config)
        for direction, works in (("upload", ups), ("download", downs)):
            measured = {name: Measured(name) for name in works}
            for repeat in range(arguments.repeats + 1):
                for name, work in works.items():
                    measured[name].run(work, count=repeat > 0)
            report(direction, arguments.mib, list(measured.values()))


def report(direction: str, mib: int, measured: list[Measured]) -> None:
    """Prints speeds, and the first one's share of the best of the others, turn by turn."""
    for one in measured:
        wall, processor = statistics.median(one.wall), statistics.median(one.processor)
        print(
            f"{direction:9} {one.name:24} {mib / wall:7.0f} MiB/s  {mib / processor:7.0f} MiB/processor s", flush=True
        )
    ours, *others = measured
    shares = [min(other.wall[turn] for other in others) / ours.wall[turn] for turn in range(len(ours.wall))]
    print(
        f"{direction:9} longhaul reaches {statistics.median(shares):.0%} of the faster of the others, per turn",
        flush=True,
    )


if __name__ == "__main__":
    main()
