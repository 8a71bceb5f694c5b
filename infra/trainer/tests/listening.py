"""The port that a server has bound, read off its own sockets: one that was free a moment ago may be another's by now."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

_LISTENING = "0A"


def bound_port(server: subprocess.Popen[bytes]) -> int:
    """The one TCP port that ``server`` listens on, once it does."""
    while server.poll() is None:
        for port in _ports_of(server.pid):
            return port
        time.sleep(0.02)
    raise RuntimeError(f"the server ended with {server.returncode} instead of listening")


def _ports_of(pid: int) -> list[int]:
    return _ports_on_linux(pid) if sys.platform == "linux" else _ports_by_lsof(pid)


def _ports_on_linux(pid: int) -> list[int]:
    process = Path("/proc") / str(pid)
    sockets = set()
    for link in (process / "fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if found := re.fullmatch(r"socket:\[(\d+)\]", target):
            sockets.add(found[1])
    ports = []
    for line in (process / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING and fields[9] in sockets:
            ports.append(int(fields[1].split(":")[1], 16))
    return ports


def _ports_by_lsof(pid: int) -> list[int]:
    command = ["lsof", "-nP", "-a", "-p", str(pid), "-iTCP", "-sTCP:LISTEN", "-Fn"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [int(port) for port in re.findall(r"^n.*:(\d+)$", listed, re.MULTILINE)]
