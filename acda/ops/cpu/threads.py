"""Runs a compiled loop on PyTorch's own threads, or on one.

PyTorch's OpenMP threads keep spinning for a while after each of its operations. Another pool of threads would compete
with them for the cores (on two cores the median time of a loop after a matrix product doubled), so loops are handed to
the very pool that PyTorch uses, whose number of threads they share.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from acda.ops.cpu.taps import Table

_Loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_forked = False


def _mark_forked() -> None:
    # OpenMP's threads do not follow a process into its fork, and its runtime does not notice: work would wait forever.
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_mark_forked)


def num_threads() -> int:
    """Threads that loops run on: as many as PyTorch's, one in a forked process."""
    return 1 if _forked else torch.get_num_threads()


def _openmp() -> "ctypes._FuncPointer | None":
    """Entry of the OpenMP runtime that PyTorch has loaded, or None if it is of another make than GNU's."""
    parallel = getattr(ctypes.CDLL(None), "GOMP_parallel", None) if sys.platform == "linux" else None
    if parallel is not None:
        parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
    return parallel


_parallel = _openmp()


def run(loop: int, numbers: Sequence[int], *tables: Table, threads: int) -> None:
    """Run a loop to its end.

    Args:
        loop: Its address.
        numbers: Its numbers.
        tables: Its tables for rows and columns, ``[length, 3]``.
        threads: How many run it, at most; scratch memory must suffice for them.
    """
    shared = np.concatenate([np.array((0, 0, *numbers), dtype=np.int64), *(table.ravel() for table in tables)])
    address = shared.ctypes.data
    if threads == 1:
        _Loop(loop)(address)
    elif _parallel is not None:
        _parallel(loop, address, threads, 0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(_Loop(loop), address) for _ in range(threads)]:
                future.result()
