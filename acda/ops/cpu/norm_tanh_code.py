"""The innermost loops of norm and tanh, written as LLVM vector instructions; see :mod:`acda.ops.cpu.vector_code`."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from acda.ops.cpu.vector_code import Emitter

_I64 = ir.IntType(64)

# tanh x = x + x³ · Σ cᵢ x²ⁱ up to 0.625, with an error of 4e-9 of the result, and exp 2r = Σ cᵢ rⁱ with one of 3e-9
# where |2r| ≤ ln 2 / 2: minimax polynomials found by Remez' exchanges.
_SMALL = 0.625
_TANH = (-0.3333328171606148, 0.13331435678795933, -0.05373914157185646, 0.02063712822487325, -0.005702707306931405)
_EXP = (1, 2, 1.9999997352218972, 1.3333215709656538, 0.6666943969471378, 0.2678027980242393, 0.08841180764313088)
_LARGE = 10.0  # from 9.02 on tanh is 1 to float32
_LOG2_E = 1.4426950408889634
_HALF_LN2 = 0.34657359027997264  # float32 has it to 1e-9
_ROUND = 1.5 * 2**23  # added to a number in float32 it leaves the nearest integer, in the low bits


def _polynomial(emit: Emitter, coefficients: Sequence[float], x: Any) -> Any:
    value = emit.constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = emit.function("fma", value, x, emit.constant(coefficient))
    return value


def _tanh(emit: Emitter, x: Any) -> Any:
    """Hyperbolic tangent in float32, within 2 units in the last place; NaN stays NaN."""
    builder, one = emit.builder, emit.constant(1)
    square = builder.fmul(x, x)
    small = emit.function("fma", builder.fmul(square, x), _polynomial(emit, _TANH, square), x)
    size = emit.function("fabs", x)
    too_large = builder.fcmp_ordered(">", size, emit.constant(_LARGE))
    clamped = builder.select(too_large, emit.constant(_LARGE), size)
    # exp 2|x| = 2ⁿ · exp 2r; n is added to the exponent.
    rounded = emit.function("fma", clamped, emit.constant(2 * _LOG2_E), emit.constant(_ROUND))
    n = builder.fsub(rounded, emit.constant(_ROUND))
    exp = _polynomial(emit, _EXP, emit.function("fma", n, emit.constant(-_HALF_LN2), clamped))
    integers = ir.VectorType(ir.IntType(32), emit.lanes)
    shifted = builder.shl(builder.bitcast(rounded, integers), ir.Constant(integers, [23] * emit.lanes))
    exp = builder.bitcast(builder.add(builder.bitcast(exp, integers), shifted), emit.vector)
    large = builder.fsub(one, builder.fdiv(emit.constant(2), builder.fadd(exp, one)))
    is_small = builder.fcmp_unordered("<", size, emit.constant(_SMALL))
    return builder.select(is_small, small, emit.function("copysign", large, x))


class _Place:
    """A vector's place in the streams and, as the channels repeat, in the numbers of a row."""

    def __init__(self, emit: Emitter, streams: Sequence[Any], numbers: Sequence[Any], mask: Any) -> None:
        self.emit = emit
        self.streams = streams
        self.numbers = numbers
        self.mask = mask

    def read(self, address: Any) -> Any:
        return self.emit.load(address, self.mask)

    def write(self, value: Any, address: Any) -> None:
        self.emit.store(value, address, self.mask)

    def add(self, value: Any, address: Any) -> None:
        self.write(self.emit.builder.fadd(self.read(address), value), address)

    def add_product(self, a: Any, b: Any, address: Any) -> None:
        self.write(self.emit.function("fma", a, b, self.read(address)), address)


def _add(at: _Place) -> None:
    """Add: ``sums += x``."""
    at.add(at.read(at.streams[0]), at.numbers[0])


def _divide(at: _Place) -> None:
    """Divide: ``sums /= count``, the first stream being no address but a number."""
    count = at.emit.broadcast(at.emit.builder.sitofp(at.streams[0], at.emit.vector.element))
    at.write(at.emit.builder.fdiv(at.read(at.numbers[0]), count), at.numbers[0])


def _deviate(at: _Place) -> None:
    """Sum: ``d = x - shift; sums += d; squares += d²``."""
    shift, sums, squares = at.numbers[:3]
    d = at.emit.builder.fsub(at.read(at.streams[0]), at.read(shift))
    at.add(d, sums)
    at.add_product(d, d, squares)


def _apply(at: _Place) -> None:
    """Compute ``y = tanh(scale · x + shift)``."""
    x, y = at.streams[:2]
    scale, shift = (at.read(number) for number in at.numbers[:2])
    at.write(_tanh(at.emit, at.emit.function("fma", at.read(x), scale, shift)), y)


def _through_tanh(at: _Place) -> tuple[Any, Any]:
    """Gradient of what tanh was applied to, and ``x - mean``."""
    emit, builder = at.emit, at.emit.builder
    x, y, grad = (at.read(stream) for stream in at.streams[:3])
    slope = emit.function("fma", builder.fneg(y), y, emit.constant(1))
    return builder.fmul(grad, slope), builder.fsub(x, at.read(at.numbers[0]))


def _correlate(at: _Place) -> None:
    """Sum: ``sums += t; products += t · (x - mean)``, t the gradient of what tanh was applied to."""
    t, deviation = _through_tanh(at)
    at.add(t, at.numbers[1])
    at.add_product(t, deviation, at.numbers[2])


def _differentiate(at: _Place) -> None:
    """Compute ``grad_x = scale · t + slope · (x - mean) + shift``."""
    t, deviation = _through_tanh(at)
    scale, slope, shift = (at.read(number) for number in at.numbers[1:])
    fma = at.emit.function
    at.write(fma("fma", t, scale, fma("fma", deviation, slope, shift)), at.streams[3])


ADD, DIVIDE, DEVIATE, APPLY, CORRELATE, DIFFERENTIATE = range(6)
_BODIES: tuple[Callable[[_Place], None], ...] = (_add, _divide, _deviate, _apply, _correlate, _differentiate)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def sweep(
    typing_context: Any,
    body: Any,
    lanes: Any,
    masked: Any,
    stream0: Any,
    stream1: Any,
    stream2: Any,
    stream3: Any,
    number0: Any,
    number1: Any,
    number2: Any,
    number3: Any,
    rows: Any,
    vectors: Any,
    valid: Any,
) -> tuple[Any, Any]:
    """Do one of the above for rows of vectors in float32, which share the numbers of a row.

    Streams and numbers are addresses; those that the body does not use may be anything. Of a row of which only some
    elements are ``valid`` the others are left out if it is ``masked``; there must be one.
    """
    of_vector, num_lanes, is_masked = (literal.literal_value for literal in (body, lanes, masked))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        streams, numbers, (num_rows, num_vectors, num_valid) = values[3:7], values[7:11], values[11:]
        emit = Emitter(builder, 0, num_lanes)
        size = num_lanes * emit.bytes
        with cgutils.for_range(builder, num_rows, intp=_I64) as row:
            first = builder.mul(row.index, num_vectors)
            with cgutils.for_range(builder, num_vectors, intp=_I64) as vector:
                mask = emit.first(builder.sub(num_valid, emit.at(ir.Constant(_I64, 0), vector.index, num_lanes)))
                here = emit.at(ir.Constant(_I64, 0), builder.add(first, vector.index), size)
                at_streams = streams if of_vector == DIVIDE else [builder.add(stream, here) for stream in streams]
                at_numbers = [emit.at(number, vector.index, size) for number in numbers]
                _BODIES[of_vector](_Place(emit, at_streams, at_numbers, mask if is_masked else None))
        return context.get_dummy_value()

    return types.void(body, lanes, masked, *[types.int64] * 11), generate


@intrinsic  # type: ignore[untyped-decorator]
def read(typing_context: Any, address: Any) -> tuple[Any, Any]:
    """Read a number in float32, as one in float64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = builder.load(builder.inttoptr(values[0], ir.FloatType().as_pointer()))
        return builder.fpext(value, ir.DoubleType())

    return types.float64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def write(typing_context: Any, address: Any, value: Any) -> tuple[Any, Any]:
    """Write a number, rounded to float32."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], ir.FloatType().as_pointer())
        builder.store(builder.fptrunc(values[1], ir.FloatType()), pointer)
        return context.get_dummy_value()

    return types.void(types.int64, types.float64), generate


@intrinsic  # type: ignore[untyped-decorator]
def float_of_bits(typing_context: Any, bits: Any) -> tuple[Any, Any]:
    """Take the bits of an integer for those of a number in float64."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(types.int64), generate
