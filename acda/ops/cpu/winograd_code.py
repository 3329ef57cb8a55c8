"""Winograd's transforms for filters of 3×3 taps and tiles of 4×4 results, F(4×4, 3×3), in vector instructions."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from acda.ops.cpu.vector_code import Emitter

TAPS, TILE, PATCH = 3, 4, 6  # side of a filter, of a tile of results, and of what they are made of

_OF_FILTER = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6), (1 / 24, 1 / 12, 1 / 6),
             (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))  # fmt: skip
_OF_PATCH = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0),
             (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))  # fmt: skip
_TO_TILE = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
_MATRICES = (_OF_PATCH, _TO_TILE, tuple(zip(*_TO_TILE, strict=True)), _OF_FILTER, tuple(zip(*_OF_FILTER, strict=True)))
# What is transformed: patches, products to tiles, gradients of tiles, filters, and products to gradients of filters.
PATCHES, TO_TILES, TILES, FILTERS, TO_FILTERS = range(5)


def _linear(emit: Emitter, factors: Sequence[float], vectors: Sequence[Any]) -> Any:
    total = None
    for factor, vector in zip(factors, vectors, strict=True):
        if total is None and factor != 0:
            total = vector if factor == 1 else emit.builder.fmul(vector, emit.constant(factor))
        elif factor in (1, -1):
            total = (emit.builder.fadd if factor == 1 else emit.builder.fsub)(total, vector)
        elif factor != 0:
            total = emit.function("fma", vector, emit.constant(factor), total)
    return total


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def transform(
    typing_context: Any,
    lanes: Any,
    which: Any,
    source: Any,
    source_row: Any,
    source_column: Any,
    top: Any,
    bottom: Any,
    left: Any,
    right: Any,
    zeros: Any,
    target: Any,
    target_row: Any,
    target_column: Any,
    rows: Any,
    columns: Any,
    waste: Any,
    channels: Any,
) -> tuple[Any, Callable[[Any, Any, Any, Any], Any]]:
    """``target = matrix · source · matrixᵀ`` for each channel; channels lie side by side, in float32.

    ``lanes`` and ``which`` matrix are constants. Of the source there are rows ``top`` to ``bottom`` and columns
    ``left`` to ``right``, the others are read from ``zeros``. Of the target only the first ``rows`` and ``columns`` are
    wanted, the others go to ``waste``. Scratch memory has whole vectors: of tiles alone, parts of vectors are written.
    """
    num_lanes, number = lanes.literal_value, which.literal_value
    matrix = _MATRICES[number]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        src, src_r, src_s, top_, bottom_, left_, right_, zeros_, to, to_r, to_s, rows_, columns_, waste_ = values[2:-1]
        emit = Emitter(builder, 0, num_lanes)
        i64 = ir.IntType(64)

        def inside(first: Any, last: Any, side: int) -> list[Any]:
            indices = [ir.Constant(i64, i) for i in range(side)]
            signed = builder.icmp_signed
            return [builder.and_(signed("<=", first, i), signed("<", i, last)) for i in indices]

        def places(start: Any, of_row: Any, of_column: Any, rows: list[Any], columns: list[Any], other: Any) -> Any:
            """Addresses of a square's elements, which are elsewhere where a row or column is not inside."""
            return [
                [
                    builder.select(builder.and_(row, column), emit.at(emit.at(start, i, of_row), j, of_column), other)
                    for j, column in enumerate(columns)
                ]
                for i, row in enumerate(rows)
            ]

        zero = ir.Constant(i64, 0)
        height, width = len(matrix), len(matrix[0])
        rows_there, columns_there = inside(top_, bottom_, width), inside(left_, right_, width)
        sources = places(src, src_r, src_s, rows_there, columns_there, zeros_)
        targets = places(to, to_r, to_s, inside(zero, rows_, height), inside(zero, columns_, height), waste_)

        def vector(offset: Any, mask: Any) -> None:
            loaded = [[emit.load(builder.add(place, offset), mask) for place in row] for row in sources]
            half = [
                [_linear(emit, factors, list(column)) for column in zip(*loaded, strict=True)] for factors in matrix
            ]
            for of_row, row in zip(half, targets, strict=True):
                for factors, place in zip(matrix, row, strict=True):
                    wanted = mask if number == TO_TILES else None
                    emit.store(_linear(emit, factors, of_row), builder.add(place, offset), wanted)

        whole, rest = emit.divide(values[-1], num_lanes)
        size = num_lanes * emit.bytes
        with cgutils.for_range(builder, whole, intp=i64) as loop:
            vector(builder.mul(loop.index, ir.Constant(i64, size)), None)
        with builder.if_then(builder.icmp_signed(">", rest, zero)):
            vector(builder.mul(whole, ir.Constant(i64, size)), emit.first(rest))
        return context.get_dummy_value()

    return types.void(lanes, which, *[types.int64] * 15), generate
