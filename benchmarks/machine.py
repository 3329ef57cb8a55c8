"""What a result was measured on, for the columns of every result file."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent


def _output(command: Sequence[str]) -> str:
    """Return the first line that a command prints, or nothing where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def _cpu() -> str:
    """Find the model name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    """Return the version of an installed package, nothing for one that is not."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def machine() -> dict[str, str]:
    """Describe processor, GPU, threads, versions and commit.

    Returns:
        Name → value, each a short text, empty for what this machine does not have.
    """
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
        "driver": _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]) if gpu else "",
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: _version(package) for package in ("numba", "llvmlite", "triton", "lightning")},
        "commit": _output(["git", "describe", "--always", "--dirty"]) or "unknown",
    }
