"""What a result was measured on, for the head of every result file."""

import os
import platform
import subprocess
from importlib.metadata import version

import torch


def machine() -> dict[str, str]:
    """Processor or GPU, cores, versions and commit.

    Returns:
        Name → value, each a short text.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "device": device,
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("lightning"),
        "commit": git.stdout.strip() or "unknown",
    }
