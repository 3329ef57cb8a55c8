"""The innermost loops, written as LLVM vector instructions: what a compiler does not find by itself.

A tile keeps a small matrix of results in the processor's vector registers while it runs over all products that add up
to them, so that each multiply-add needs less than one load. Multiply-adds are fused and never reordered, so NaN and
infinity behave as IEEE 754 says.

Addresses and strides are integers in bytes. ``double``, ``lanes`` and the numbers of atoms, vectors and taps must be
constants where a tile is called: they are part of what is compiled.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class Emitter:
    """Writes vector instructions for one element type and number of lanes."""

    def __init__(self, builder: Any, double: int, lanes: int) -> None:
        self.builder = builder
        self.bytes = 8 if double else 4
        self.lanes = lanes
        self.vector = ir.VectorType(ir.DoubleType() if double else ir.FloatType(), lanes)
        self.zero = ir.Constant(self.vector, None)
        self._suffix = f"v{lanes}f{8 * self.bytes}"
        self._mask_type = ir.VectorType(ir.IntType(1), lanes)

    def _call(self, name: str, result: Any, *arguments: Any) -> Any:
        function_type = ir.FunctionType(result, [a.type for a in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function_type, name), arguments)

    def at(self, address: Any, index: Any, stride: Any) -> Any:
        """``address + index · stride``, each of the two a number or a value."""
        index, stride = (ir.Constant(_I64, v) if isinstance(v, int) else v for v in (index, stride))
        return self.builder.add(address, self.builder.mul(index, stride))

    def divide(self, value: Any, by: int) -> tuple[Any, Any]:
        """Quotient and remainder of a value that is not negative."""
        divisor = ir.Constant(_I64, by)
        return self.builder.udiv(value, divisor), self.builder.urem(value, divisor)

    def pointer(self, address: Any, to: Any) -> Any:
        """Make a pointer of an address."""
        return self.builder.inttoptr(address, to.as_pointer())

    def accumulator(self) -> Any:
        """Take a vector that lives in a register, zero at first."""
        slot = cgutils.alloca_once(self.builder, self.vector)
        self.builder.store(self.zero, slot)
        return slot

    def constant(self, value: float) -> Any:
        """One number in all lanes."""
        return ir.Constant(self.vector, [value] * self.lanes)

    def function(self, name: str, *arguments: Any) -> Any:
        """Call one of LLVM's functions of vectors, such as ``fma``."""
        return self._call(f"llvm.{name}.{self._suffix}", self.vector, *arguments)

    def multiply_add(self, a: Any, b: Any, slot: Any) -> None:
        """``slot += a · b``."""
        self.builder.store(self.function("fma", a, b, self.builder.load(slot)), slot)

    def first(self, valid: Any) -> Any:
        """Mask of the first ``valid`` lanes."""
        counts = ir.VectorType(_I64, self.lanes)
        lane = ir.Constant(counts, [ir.Constant(_I64, i) for i in range(self.lanes)])
        return self.builder.icmp_signed("<", lane, self._broadcast(valid, counts))

    def load(self, address: Any, mask: Any = None) -> Any:
        """Read a vector; lanes that the mask leaves out are zero and not read."""
        source = self.pointer(address, self.vector)
        if mask is None:
            value = self.builder.load(source)
            value.align = self.bytes
            return value
        align = ir.Constant(_I32, self.bytes)
        return self._call(f"llvm.masked.load.{self._suffix}.p0", self.vector, source, align, mask, self.zero)

    def store(self, value: Any, address: Any, mask: Any = None) -> None:
        """Write a vector; lanes that the mask leaves out are not touched."""
        target = self.pointer(address, value.type)
        if mask is None:
            self.builder.store(value, target).align = self.bytes
        else:
            align = ir.Constant(_I32, self.bytes)
            self._call(f"llvm.masked.store.{self._suffix}.p0", ir.VoidType(), value, target, align, mask)

    def splat(self, address: Any) -> Any:
        """One element in all lanes."""
        return self.broadcast(self.builder.load(self.pointer(address, self.vector.element)))

    def broadcast(self, value: Any) -> Any:
        """One value in all lanes."""
        return self._broadcast(value, self.vector)

    def _broadcast(self, value: Any, to: Any) -> Any:
        undefined = ir.Constant(to, ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(_I32, 0))
        return self.builder.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(_I32, self.lanes), None))

    def shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        """Lanes of ``a``, numbered from 0, and of ``b``, numbered after them."""
        indices = ir.Constant(ir.VectorType(_I32, len(lanes)), [ir.Constant(_I32, i) for i in lanes])
        return self.builder.shuffle_vector(a, b, indices)

    def sums(self, four: list[Any]) -> Any:
        """Sum over the lanes of each of four vectors; the sums are one vector of four lanes."""
        n = self.lanes

        def fold(a: Any, b: Any, low: list[int], high: list[int]) -> Any:
            groups = range(0, n, 4)
            pick = [[i % 4 + g + (n if i >= 4 else 0) for g in groups for i in part] for part in (low, high)]
            return self.builder.fadd(self.shuffle(a, b, pick[0]), self.shuffle(a, b, pick[1]))

        first, second = (fold(a, b, [0, 4, 1, 5], [2, 6, 3, 7]) for a, b in (four[:2], four[2:]))
        total = fold(first, second, [0, 1, 4, 5], [2, 3, 6, 7])
        while n > 4:
            n //= 2
            total = self.builder.fadd(
                self.shuffle(total, total, list(range(n))), self.shuffle(total, total, list(range(n, 2 * n)))
            )
        return total


_Codegen = Callable[[Any, Any, Any, Any], Any]


def _parts(count: int, at_most: int) -> list[range]:
    """Cut 0 … count − 1 into as few ranges as possible, of nearly equal length."""
    pieces = -(-count // at_most)
    return [range(count * i // pieces, count * (i + 1) // pieces) for i in range(pieces)]


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def combine(
    typing_context: Any,
    double: Any,
    lanes: Any,
    vectors: Any,
    at_most: Any,
    results: Any,
    out: Any,
    out_stride: Any,
    initial: Any,
    initial_stride: Any,
    factor: Any,
    factor_stride: Any,
    factor_row: Any,
    factor_column: Any,
    source: Any,
    source_row: Any,
    source_column: Any,
    rows: Any,
    columns: Any,
    channels: Any,
) -> tuple[Any, _Codegen]:
    """``out[b, c] = initial[b, c] + Σ_{r, s} factor[b, r, s] · source[r, s, c]``.

    Compiled for a number of ``results`` b, of which a tile has ``at_most``, beside ``vectors`` · ``lanes`` channels c.
    ``_stride`` is from one b to the next, ``_row`` and ``_column`` from one r and s to the next; channels lie side by
    side. Without an ``initial``, which may be ``out``, its address is 0.
    """
    is_double, num_lanes, num_vectors, most, num_results = (
        literal.literal_value for literal in (double, lanes, vectors, at_most, results)
    )

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        out_, out_b, initial_, initial_b, fac, fac_b, fac_r, fac_s, src, src_r, src_s = values[5:16]
        num_rows, num_columns, num_channels = values[16:]
        emit = Emitter(builder, is_double, num_lanes)
        one = num_lanes * emit.bytes

        def tile(part: range, width: int, offset: Any, mask: Any) -> None:
            places = [emit.at(offset, v, one) for v in range(width)]
            sums = [[emit.accumulator() for _ in places] for _ in part]
            with builder.if_then(builder.icmp_signed("!=", initial_, ir.Constant(_I64, 0))):
                for b, of_result in zip(part, sums, strict=True):
                    for place, slot in zip(places, of_result, strict=True):
                        builder.store(emit.load(builder.add(emit.at(initial_, b, initial_b), place), mask), slot)
            with cgutils.for_range(builder, num_rows, intp=_I64) as row:
                factor_of_row, source_of_row = emit.at(fac, row.index, fac_r), emit.at(src, row.index, src_r)
                with cgutils.for_range(builder, num_columns, intp=_I64) as column:
                    factor_of_tap = emit.at(factor_of_row, column.index, fac_s)
                    source_of_tap = emit.at(source_of_row, column.index, src_s)
                    loaded = [emit.load(builder.add(source_of_tap, place), mask) for place in places]
                    for b, of_result in zip(part, sums, strict=True):
                        splat = emit.splat(emit.at(factor_of_tap, b, fac_b))
                        for vector, slot in zip(loaded, of_result, strict=True):
                            emit.multiply_add(splat, vector, slot)
            for b, of_result in zip(part, sums, strict=True):
                for place, slot in zip(places, of_result, strict=True):
                    emit.store(builder.load(slot), builder.add(emit.at(out_, b, out_b), place), mask)

        whole, rest = emit.divide(num_channels, num_lanes * num_vectors)
        singles, _ = emit.divide(builder.add(rest, ir.Constant(_I64, num_lanes - 1)), num_lanes)
        for part in _parts(num_results, most):
            with cgutils.for_range(builder, whole, intp=_I64) as block:
                tile(part, num_vectors, builder.mul(block.index, ir.Constant(_I64, num_vectors * one)), None)
            done = builder.mul(whole, ir.Constant(_I64, num_vectors * num_lanes))
            with cgutils.for_range(builder, singles, intp=_I64) as single:
                first = emit.at(done, single.index, num_lanes)
                mask = emit.first(builder.sub(num_channels, first))
                tile(part, 1, builder.mul(first, ir.Constant(_I64, emit.bytes)), mask)
        return context.get_dummy_value()

    return types.void(double, lanes, vectors, at_most, results, *[types.int64] * 14), generate


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def correlate(
    typing_context: Any,
    double: Any,
    lanes: Any,
    at_most: Any,
    results: Any,
    out: Any,
    out_stride: Any,
    left: Any,
    left_stride: Any,
    right: Any,
    right_column: Any,
    columns: Any,
    channels: Any,
) -> tuple[Any, _Codegen]:
    """``out[b, s] = Σ_c left[b, c] · right[s, c]``.

    Compiled for a number of ``results`` b, of which a tile has ``at_most``, beside four columns s. ``_stride`` is from
    one b to the next, ``_column`` from one s to the next; channels c, and columns of ``out``, lie side by side.
    """
    constants = [literal.literal_value for literal in (double, lanes, at_most, results)]
    is_double, num_lanes, most, num_results = constants

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        out_, out_b, left_, left_b, right_, right_s, num_columns, num_channels = values[4:]
        emit = Emitter(builder, is_double, num_lanes)
        whole, rest = emit.divide(num_channels, num_lanes)

        def tile(part: range, width: int, first: Any) -> None:
            rights = [emit.at(emit.at(right_, first, right_s), s, right_s) for s in range(width)]
            sums = [[emit.accumulator() for _ in rights] for _ in part]

            def step(vector: Any, mask: Any = None) -> None:
                offset = builder.mul(vector, ir.Constant(_I64, num_lanes * emit.bytes))
                loaded = [emit.load(builder.add(address, offset), mask) for address in rights]
                for b, of_result in zip(part, sums, strict=True):
                    factor = emit.load(builder.add(emit.at(left_, b, left_b), offset), mask)
                    for vector, slot in zip(loaded, of_result, strict=True):
                        emit.multiply_add(factor, vector, slot)

            with cgutils.for_range(builder, whole, intp=_I64) as loop:
                step(loop.index)
            with builder.if_then(builder.icmp_signed(">", rest, ir.Constant(_I64, 0))):
                step(whole, emit.first(rest))
            for b, of_result in zip(part, sums, strict=True):
                four = emit.sums([builder.load(slot) for slot in of_result] + [emit.zero] * (4 - width))
                of_columns = emit.shuffle(four, four, list(range(width)))
                emit.store(of_columns, emit.at(emit.at(out_, b, out_b), first, emit.bytes))

        fours, left_over = emit.divide(num_columns, 4)
        for part in _parts(num_results, most):
            with cgutils.for_range(builder, fours, intp=_I64) as loop:
                tile(part, 4, builder.mul(loop.index, ir.Constant(_I64, 4)))
            for width in (1, 2, 3):
                with builder.if_then(builder.icmp_signed("==", left_over, ir.Constant(_I64, width))):
                    tile(part, width, builder.mul(fours, ir.Constant(_I64, 4)))
        return context.get_dummy_value()

    return types.void(double, lanes, at_most, results, *[types.int64] * 8), generate


@intrinsic  # type: ignore[untyped-decorator]
def fill_zero(typing_context: Any, address: Any, size: Any) -> tuple[Any, _Codegen]:
    """Write ``size`` zero bytes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        start = builder.inttoptr(values[0], ir.IntType(8).as_pointer())
        cgutils.memset(builder, start, values[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def copy(typing_context: Any, target: Any, source: Any, size: Any) -> tuple[Any, _Codegen]:
    """Copy ``size`` bytes to where they do not overlap."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to, start = (builder.inttoptr(value, ir.IntType(8).as_pointer()) for value in values[:2])
        cgutils.raw_memcpy(builder, to, start, values[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def next_ticket(typing_context: Any, numbers: Any, index: Any) -> tuple[Any, _Codegen]:
    """Take the next value of a counter that threads share, one of ``numbers``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        counter = builder.gep(values[0], [values[1]], source_etype=_I64)
        return builder.atomic_rmw("add", counter, ir.Constant(_I64, 1), "monotonic")

    return types.int64(types.CPointer(types.int64), types.int64), generate
