"""The CPU backend: :mod:`acda.ops.blocked` with loops that numba compiles."""

from functools import cache
from math import gcd

import numpy as np
import torch
from torch import Tensor

from acda.ops import blocked
from acda.ops.blocks import Block
from acda.ops.cpu import whole
from acda.ops.cpu.taps import Table, Taps, met_by_inputs, met_by_outputs
from acda.ops.cpu.threads import num_threads, run
from acda.ops.geometry import Geometry

# What exists between input and output for one block has about this many elements for each thread: 4 MB in float32,
# near to a core's cache, while the matrix products are large enough to be efficient.
_BLOCK_ELEMENTS = 2**20
_HALVES = (torch.float16, torch.bfloat16)


@cache
def _import_numba() -> str | None:
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return f"numba cannot be imported ({error})"
    return None


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _no_numba() -> str | None:
    return _import_numba()


def cannot_run(x: Tensor) -> str | None:
    """Why the compiled loops cannot take this input, or None if they can."""
    if x.device.type != "cpu":
        return f"it is for the CPU, x is on {x.device}"
    if x.dtype not in (torch.float32, torch.float64, *_HALVES):
        return f"it computes in float32 and float64, x is {x.dtype}"
    reason: str | None = _no_numba()
    return reason


class _Loops:
    """The three kernels; see :class:`acda.ops.blocked.Kernels`."""

    tap_multiple = 4

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return torch.float32 if dtype in _HALVES else dtype

    def block_pixels(self, elements_per_pixel: int) -> int:
        return num_threads() * _BLOCK_ELEMENTS // elements_per_pixel

    def convolve(self, x: Tensor, atoms: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        rows = met_by_outputs(outputs.rows.start, outputs.rows.stop, x.shape[1], 0, geometry)
        columns = met_by_outputs(outputs.columns.start, outputs.columns.stop, x.shape[2], 1, geometry)
        to_row, to_column, to_tap_row, to_tap = _strides(atoms, outputs, geometry)
        places = [np.arange(n) for n in outputs.shape[1:]]
        _combine(
            x,
            atoms,
            outputs,
            outputs,
            (geometry.dilation[0], geometry.dilation[1]),
            (to_tap_row, to_tap),
            (rows, places[0] * to_row + rows.first * to_tap_row),
            (columns, places[1] * to_column + columns.first * to_tap),
            out,
        )

    def gather(
        self, grad: Tensor, atoms: Tensor, inputs: Block, outputs: Block, geometry: Geometry, out: Tensor
    ) -> None:
        first, last = outputs.rows.start, outputs.rows.stop
        rows = met_by_inputs(inputs.rows.start, inputs.rows.stop, first, last, 0, geometry)
        left, right = outputs.columns.start, outputs.columns.stop
        columns = met_by_inputs(inputs.columns.start, inputs.columns.stop, left, right, 1, geometry)
        to_row, to_column, to_tap_row, to_tap = _strides(atoms, outputs, geometry)
        # From one tap that meets an output to the next: so many taps on, so many outputs back.
        shared = [gcd(s, d) for s, d in zip(geometry.stride, geometry.dilation, strict=True)]
        taps = [s // g for s, g in zip(geometry.stride, shared, strict=True)]
        back = [d // g for d, g in zip(geometry.dilation, shared, strict=True)]
        _combine(
            grad,
            atoms,
            inputs,
            outputs,
            (-back[0], -back[1]),
            (taps[0] * to_tap_row - back[0] * to_row, taps[1] * to_tap - back[1] * to_column),
            (rows, (rows.position - first) * to_row + rows.first * to_tap_row),
            (columns, (columns.position - left) * to_column + columns.first * to_tap),
            out,
        )

    def correlate(self, x: Tensor, grad_z: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        from acda.ops.cpu import loops

        _, num_atoms, channels = grad_z.shape
        rows = met_by_outputs(outputs.rows.start, outputs.rows.stop, x.shape[1], 0, geometry)
        columns = met_by_outputs(outputs.columns.start, outputs.columns.stop, x.shape[2], 1, geometry)
        of_image, of_row, of_column = (stride * x.element_size() for stride in x.stride()[:3])
        _, _, to_tap_row, to_tap = _strides(out, outputs, geometry)
        numbers = loops.Correlate(
            *outputs.shape,
            channels=channels,
            right=x.data_ptr() + outputs.images.start * of_image,
            right_of_image=of_image,
            right_of_row=geometry.dilation[0] * of_row,
            right_of_column=geometry.dilation[1] * of_column,
            left=grad_z.data_ptr(),
            out=out.data_ptr(),
            out_of_row=to_tap_row,
            out_of_atom=out.shape[2] * out.element_size(),
        )
        run(
            loops.correlate_loop(x.dtype == torch.float64, num_atoms),
            numbers,
            rows.table(rows.position * of_row, rows.first * to_tap_row),
            columns.table(columns.position * of_column, columns.first * to_tap),
        )


def _strides(atoms: Tensor, outputs: Block, geometry: Geometry) -> tuple[int, int, int, int]:
    """Bytes in ``[pixels of outputs, m, T]`` from a pixel to that below and that beside, from a tap to these two."""
    pixel = atoms.shape[1] * atoms.shape[2] * atoms.element_size()
    return (
        outputs.shape[2] * pixel,
        pixel,
        geometry.kernel_size * atoms.element_size(),
        atoms.element_size(),
    )


def _combine(
    source: Tensor,
    atoms: Tensor,
    results: Block,
    outputs: Block,
    source_steps: tuple[int, int],
    factor_steps: tuple[int, int],
    rows: tuple[Taps, Table],
    columns: tuple[Taps, Table],
    out: Tensor,
) -> None:
    """Sum atoms · source over taps for each pixel of ``results``.

    Args:
        source: ``[N, H, W, C]``.
        atoms: ``[pixels of outputs, m, T]``.
        results: Pixels to compute.
        outputs: Pixels that have the atoms.
        source_steps: Pixels from one tap to the next, vertically and horizontally.
        factor_steps: Bytes in the atoms from one tap to the next.
        rows: Taps of each row, and the bytes from an image's first atom to that of the first tap.
        columns: The same of each column.
        out: ``[pixels of results, m, C]``.
    """
    from acda.ops.cpu import loops

    num_atoms, channels, size = atoms.shape[1], source.shape[3], atoms.element_size()
    of_image, of_row, of_column = (stride * size for stride in source.stride()[:3])
    numbers = loops.Combine(
        *results.shape,
        channels=channels,
        source=source.data_ptr() + results.images.start * of_image,
        source_of_image=of_image,
        source_of_row=source_steps[0] * of_row,
        source_of_column=source_steps[1] * of_column,
        factor=atoms.data_ptr(),
        factor_of_image=outputs.shape[1] * outputs.shape[2] * num_atoms * atoms.shape[2] * size,
        factor_of_row=factor_steps[0],
        factor_of_column=factor_steps[1],
        factor_of_atom=atoms.shape[2] * size,
        out=out.data_ptr(),
    )
    run(
        loops.combine_loop(source.dtype == torch.float64, num_atoms),
        numbers,
        rows[0].table(rows[0].position * of_row, rows[1]),
        columns[0].table(columns[0].position * of_column, columns[1]),
    )


_KERNELS = _Loops()


def forward(
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    groups: int,
) -> Tensor:
    """Adaptive convolution; arguments and result as in :func:`acda.ops.reference.forward`."""
    if whole.can_run(x, weight, groups):
        return whole.forward(x, coefficients, bases, weight, bias, geometry)
    return blocked.forward(_KERNELS, x, coefficients, bases, weight, bias, geometry, groups)


def backward(
    grad: Tensor,
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    geometry: Geometry,
    groups: int,
    needs: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`forward`; arguments and result as in :func:`acda.ops.reference.backward`."""
    needs_x, needs_coefficients, needs_bases, needs_weight = needs
    apart = needs_coefficients and not needs_bases and whole.can_run(x, weight, groups)
    blockwise = [needs_x, needs_coefficients and not apart, needs_bases, needs_weight]
    grads = blocked.backward(_KERNELS, grad, x, coefficients, bases, weight, geometry, groups, blockwise)
    if not apart:
        return grads
    return grads[0], whole.grad_coefficients(grad, x, coefficients, bases, weight, geometry), *grads[2:]
