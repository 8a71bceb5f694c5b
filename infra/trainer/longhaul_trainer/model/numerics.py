"""What decides the numerics of an attempt: settings made once per process, and the fingerprint that names them."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

import torch
import transformers

from longhaul_trainer.contracts import Fingerprint, Runtime
from longhaul_trainer.model.attention import bucket, default_backend
from longhaul_trainer.model.loss import CHUNK_BYTES


def configure(runtime: Runtime, seed: int) -> torch.device:
    """Sets threads, determinism and seeds as the spec asks; returns the device."""
    torch.set_num_threads(runtime.threads)
    torch.manual_seed(seed)
    if runtime.strict:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        # A debugging aid that costs a tenth of a step. PyTorch makes it an attribute of the module at run time only.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(runtime.device)


def fingerprint(runtime: Runtime, micro_batch_rows: int, world_size: int = 1) -> Fingerprint:
    """The numerics fingerprint. Attempts that share it end in the same bits; each entry is a reason why others may not."""
    device = torch.device(runtime.device)
    facts: Fingerprint = {
        "image": os.environ.get("LONGHAUL_IMAGE", "none"),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": runtime.device,
        "precision": runtime.precision,
        "strict": runtime.strict,
        "threads": runtime.threads,
        "worldSize": world_size,
        "microBatchRows": micro_batch_rows,
        "attention": default_backend(device),
        "kernels": f"sdpa buckets {bucket(1)}.., head chunks {CHUNK_BYTES}",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "cuda": str(torch.version.cuda), "driver": _driver()}
    else:
        facts |= {
            "cpu": _cpu_name(),
            "cpuCapability": torch.backends.cpu.get_cpu_capability(),
            "cpuFlags": _cpu_flags_digest(),
        }
    return facts


def _cpu_lines() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _cpu_name() -> str:
    named = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _cpu_flags_digest() -> str:
    flags = sorted({flag for line in _cpu_lines() if line.startswith(("flags", "Features")) for flag in line.split()})
    return hashlib.sha256(" ".join(flags).encode()).hexdigest()[:16] if flags else "unknown"


def _driver() -> str:
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return "unknown"
