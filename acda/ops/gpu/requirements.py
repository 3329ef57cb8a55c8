"""What the Triton kernels need of a machine: one question, whose answer decides and explains."""

import os
import re
import shutil
import sysconfig
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from acda.ops.after_import import constant_to_compilers
from acda.ops.gpu import tile_sizes
from acda.ops.gpu.launch import interpreted

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_LEAST_TRITON = (3, 6)  # earlier ones, such as 3.3 and 3.4, compile none of the kernels
_LATEST_MAJOR = 12  # of the compute capabilities that the kernels are compiled for in tests


@cache
def _find_capability(device: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


@constant_to_compilers
def ask_capability(device: int) -> tuple[int, int]:
    """Compute capability of a GPU, as major and minor number; to compilers a constant."""
    return _find_capability(device)


@cache
def _find_triton_fault() -> str | None:
    try:
        import triton
    except ImportError as error:
        return f"triton cannot be imported ({error})"
    numbers = re.findall(r"\d+", triton.__version__)
    if tuple(map(int, numbers[:2])) < _LEAST_TRITON:
        return f"it needs triton {'.'.join(map(str, _LEAST_TRITON))} or newer, {triton.__version__} is installed"
    # Triton compiles a small C program to start a kernel with.
    compilers = (os.environ["CC"],) if "CC" in os.environ else ("gcc", "clang")
    if not any(map(shutil.which, compilers)):
        return f"triton needs a C compiler, there is no {' or '.join(compilers)}: install one, or set CC to one"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        return f"triton needs Python's headers, there is no {header}: install python3-dev or python3-devel"
    return None


@constant_to_compilers
def _triton_fault() -> str | None:
    return _find_triton_fault()


def cannot_run(x: Tensor) -> str | None:
    """Why the Triton kernels cannot take this input, or None if they can.

    They run on the CPU for tests only, if ``TRITON_INTERPRET=1`` is set before Triton is imported.
    """
    if x.dtype not in _DTYPES:
        return f"it computes in float32, bfloat16 and float16, x is {x.dtype}"
    if x.device.type == "cpu" and interpreted():
        return None
    if x.device.type != "cuda":
        return f"it needs an NVIDIA GPU, x is on {x.device}"
    if torch.version.hip is not None:
        return f"it needs an NVIDIA GPU, x is on one of AMD's ({x.device}, ROCm {torch.version.hip})"
    capability = ask_capability(x.device.index)
    if not tile_sizes.LEAST_CAPABILITY <= capability < (_LATEST_MAJOR + 1, 0):
        least, have = (".".join(map(str, c)) for c in (tile_sizes.LEAST_CAPABILITY, capability))
        return f"it needs a GPU of compute capability {least} to {_LATEST_MAJOR}.x, x is on one of {have}"
    return _triton_fault()
