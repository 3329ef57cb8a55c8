"""What the C library does with memory that is freed: give it back to the system, or keep it for what comes next."""

import ctypes
import logging
import os

_log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_MMAP_THRESHOLDS = (2**30, 2**25)  # bytes; some versions of glibc take the second at most
_TRIM_THRESHOLD = 2**31 - 1  # bytes, the largest int
# What a user sets by one of these holds for the other thresholds, too.
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
_TUNABLES = ("mmap_threshold", "mmap_max", "trim_threshold", "top_pad")


class _SymbolInfo(ctypes.Structure):
    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _defining_file(name: str) -> bytes | None:
    """Path of the library that defines the C function which this process calls by a name, or None."""
    try:
        process = ctypes.CDLL(None)
        function, info = getattr(process, name), _SymbolInfo()
        found = process.dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(info))
    except (AttributeError, OSError, TypeError):  # no such function; Windows
        return None
    return info.file if found else None


def cannot_keep() -> str | None:
    """Why :func:`keep_freed_memory` would change nothing, or None if it would."""
    glibc = _defining_file("gnu_get_libc_version")
    if glibc is None:
        return "the C library is not glibc"
    if _defining_file("malloc") != glibc:
        return "memory is allocated by another library than glibc"
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    given = [name for name in _VARIABLES if name in os.environ]
    given += [f"GLIBC_TUNABLES={name}" for name in _TUNABLES if f"glibc.malloc.{name}=" in tunables]
    return f"the environment says how: {', '.join(given)}" if given else None


def keep_freed_memory() -> bool:
    """Let this process, and those that it forks, keep the memory that they free for what they allocate next.

    A training step on the CPU allocates and frees the same large tensors again and again. By default glibc gives each
    back to the system, which clears every page anew when it is asked for again. This raises the sizes from which it
    does so (``M_MMAP_THRESHOLD``, ``M_TRIM_THRESHOLD``) beyond those of tensors. The process's memory then stays at its
    peak until it ends.

    It is a setting of the whole process, so nothing in the library calls it. The outcome is logged at debug level.

    Returns:
        Whether it was done. It is not where another allocator than glibc's is in use, or where the environment has one
        of glibc's own settings (``MALLOC_MMAP_THRESHOLD_`` and the like).
    """
    reason = cannot_keep()
    if reason is None:
        mallopt = ctypes.CDLL(None).mallopt
        taken = next((size for size in _MMAP_THRESHOLDS if mallopt(_M_MMAP_THRESHOLD, size)), None)
        if taken is None or not mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD):
            reason = "glibc refuses its thresholds"
        else:
            _log.debug("freed memory is kept for what comes next, blocks below %d MiB", taken // 2**20)
    if reason is not None:
        _log.debug("freed memory goes back to the system as glibc has it by default: %s", reason)
    return reason is None
