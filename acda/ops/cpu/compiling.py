"""Compiles loops over pixels for this processor; they are kept on disk.

A loop is a function of one pointer to 64-bit integers: two counters, from which threads draw their work and their
number, then what the loop's named tuples list, in their order, then two tables. :func:`places` tells which is where.
Addresses, offsets and strides are in bytes.
Any number of threads may run a loop on the same numbers at once; together they do what one does alone.

A pixel's taps are a rectangle; how large it is and where it starts hangs on the pixel's row and column alone. The
tables hold, for each row and then for each column, three numbers: how many taps, and two offsets of the first one.
"""

import logging
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from llvmlite.binding import get_host_cpu_features
from numba import cfunc, types

from acda.ops.cpu import vector_code

_log = logging.getLogger(__name__)
_SIGNATURE = types.void(types.CPointer(types.int64))
_compiled: list[Any] = []  # keeps alive what addresses point into

# Part of what compiled code is filed under, so that it is compiled anew when the vector code changes.
REVISION = zlib.crc32(Path(vector_code.__file__).read_bytes())
WORK, THREAD = 0, 1  # places of the counters
GROUP = 6  # atoms or pixels that are combined in one tile


class Registers(NamedTuple):
    """Sizes of the tiles that fill a processor's vector registers without spilling."""

    lanes: int
    vectors: int  # of channels, in a tile of combine beside GROUP results
    correlated: int  # results in a tile of correlate, beside four columns


@cache
def registers(double: bool) -> Registers:
    """Sizes of tiles for this processor."""
    features = get_host_cpu_features()
    if features.get("avx512f"):
        return Registers(8 if double else 16, 4, 6)
    if features.get("avx2"):
        return Registers(4 if double else 8, 2, 3)
    if features.get("neon"):
        return Registers(4, 2 if double else 4, 3 if double else 6)
    return Registers(4, 1 if double else 2, 3)


def places(*tuples: type[NamedTuple]) -> tuple[Any, ...]:
    """Where the numbers of a loop's named tuples lie after its pointer.

    Returns:
        Each of the tuples with the places of its fields in them, and last the place of the tables.
    """
    place, found = THREAD + 1, []
    for fields in tuples:
        found.append(fields._make(range(place, place + len(fields._fields))))
        place += len(fields._fields)
    return *found, place


def address(loop: Callable[[Any], None]) -> int:
    """Compile a loop.

    Args:
        loop: The function of a pointer. Of what is around it, it may use numbers and tuples of them alone, or it is
            compiled anew in every process.

    Returns:
        Address of the compiled function.
    """
    try:
        compiled = cfunc(_SIGNATURE, cache=True)(loop)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _log.info("compiled loops are not kept on disk: %s", str(error).rpartition(": ")[2])
        compiled = cfunc(_SIGNATURE)(loop)
    _compiled.append(compiled)
    place: int = compiled.address
    return place
