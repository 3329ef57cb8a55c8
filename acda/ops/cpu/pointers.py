"""Where the compiled loops find their operands: the addresses and strides that each is run with.

These are the kernels of :mod:`acda.ops.matrix_products`.
"""

from math import gcd
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from acda.ops.blocks import Block
from acda.ops.cpu.taps import Table, Taps, met_by_inputs, met_by_outputs
from acda.ops.cpu.threads import num_threads, run
from acda.ops.geometry import Geometry
from acda.ops.matrix_products import TapLayout

# What exists between input and output for one block has about this many elements for each thread: 4 MB in float32,
# near to a core's cache, while the matrix products are large enough to be efficient.
_BLOCK_ELEMENTS = 2**20
_TAP_MULTIPLE = 4
HALVES = (torch.float16, torch.bfloat16)


class Sums(NamedTuple):
    """Sums of products of a source and atoms over taps, for :class:`acda.ops.cpu.loops.Combine`."""

    numbers: tuple[int, ...]
    rows: Table
    columns: Table


class Kernels:
    """The compiled loops; see :class:`acda.ops.matrix_products.Kernels`."""

    def tap_layout(self, geometry: Geometry, num_atoms: int) -> TapLayout:
        """One after the other."""
        return self.grad_layout(geometry)

    def grad_layout(self, geometry: Geometry) -> TapLayout:
        """One after the other."""
        return TapLayout.packed(geometry.kernel_size, _TAP_MULTIPLE)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Halves are computed in float32."""
        return torch.float32 if dtype in HALVES else dtype

    def block_pixels(self, elements_per_pixel: int) -> int:
        """As many as the caches hold."""
        return num_threads() * _BLOCK_ELEMENTS // elements_per_pixel

    def convolve(self, x: Tensor, atoms: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        """Convolve with the atoms."""
        from acda.ops.cpu import loops

        rows = met_by_outputs(outputs.rows.start, outputs.rows.stop, x.shape[1], 0, geometry)
        columns = met_by_outputs(outputs.columns.start, outputs.columns.stop, x.shape[2], 1, geometry)
        to_row, to_column, to_tap_row, to_tap = _strides(atoms, outputs, geometry)
        places = [np.arange(n) for n in outputs.shape[1:]]
        sums = _sums(
            x,
            atoms,
            outputs,
            outputs,
            (geometry.dilation[0], geometry.dilation[1]),
            (to_tap_row, to_tap),
            (rows, places[0] * to_row + rows.first * to_tap_row),
            (columns, places[1] * to_column + columns.first * to_tap),
            out.data_ptr(),
        )
        run(loops.combine_loop(x.dtype == torch.float64, atoms.shape[1]), *sums, threads=num_threads())

    def gather(
        self, grad: Tensor, atoms: Tensor, inputs: Block, outputs: Block, geometry: Geometry, out: Tensor
    ) -> None:
        """Convolve with the transposed atoms."""
        from acda.ops.cpu import loops

        sums = gathered(grad, atoms, inputs, outputs, geometry, out.data_ptr())
        run(loops.combine_loop(grad.dtype == torch.float64, atoms.shape[1]), *sums, threads=num_threads())

    def correlate(self, x: Tensor, grad_z: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        """Compute the gradient of the atoms."""
        from acda.ops.cpu import loops

        rows = met_by_outputs(outputs.rows.start, outputs.rows.stop, x.shape[1], 0, geometry)
        columns = met_by_outputs(outputs.columns.start, outputs.columns.stop, x.shape[2], 1, geometry)
        of_image, of_row, of_column = image_strides(x)
        _, _, to_tap_row, to_tap = _strides(out, outputs, geometry)
        numbers = loops.Correlate(
            *outputs.shape,
            channels=x.shape[3],
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
            loops.correlate_loop(x.dtype == torch.float64, grad_z.shape[1]),
            numbers,
            rows.table(rows.position * of_row, rows.first * to_tap_row),
            columns.table(columns.position * of_column, columns.first * to_tap),
            threads=num_threads(),
        )


KERNELS = Kernels()


def gathered(grad: Tensor, atoms: Tensor, inputs: Block, outputs: Block, geometry: Geometry, out: int) -> Sums:
    """Describe what makes ``W`` at the address ``out``; the other arguments are those of ``Kernels.gather``."""
    first, last = outputs.rows.start, outputs.rows.stop
    rows = met_by_inputs(inputs.rows.start, inputs.rows.stop, first, last, 0, geometry)
    left, right = outputs.columns.start, outputs.columns.stop
    columns = met_by_inputs(inputs.columns.start, inputs.columns.stop, left, right, 1, geometry)
    to_row, to_column, to_tap_row, to_tap = _strides(atoms, outputs, geometry)
    # From one tap that meets an output to the next: so many taps on, so many outputs back.
    shared = [gcd(s, d) for s, d in zip(geometry.stride, geometry.dilation, strict=True)]
    taps = [s // g for s, g in zip(geometry.stride, shared, strict=True)]
    back = [d // g for d, g in zip(geometry.dilation, shared, strict=True)]
    return _sums(
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


def image_strides(tensor: Tensor) -> tuple[int, int, int]:
    """Bytes from one image, row and column of a contiguous ``[N, H, W, C]`` to the next."""
    _, height, width, channels = tensor.shape
    of_column = channels * tensor.element_size()
    return height * width * of_column, width * of_column, of_column


def _strides(atoms: Tensor, outputs: Block, geometry: Geometry) -> tuple[int, int, int, int]:
    """Bytes in ``[pixels of outputs, m, T]`` from a pixel to that below and that beside, from a tap to these two."""
    size = atoms.element_size()
    pixel = atoms.shape[1] * atoms.shape[2] * size
    return outputs.shape[2] * pixel, pixel, geometry.kernel_size * size, size


def _sums(
    source: Tensor,
    atoms: Tensor,
    results: Block,
    outputs: Block,
    source_steps: tuple[int, int],
    factor_steps: tuple[int, int],
    rows: tuple[Taps, Table],
    columns: tuple[Taps, Table],
    out: int,
) -> Sums:
    """Describe the sums of atoms · source over taps for each pixel of ``results``.

    Args:
        source: ``[N, H, W, C]``.
        atoms: ``[pixels of outputs, m, T]``.
        results: Pixels to compute.
        outputs: Pixels that have the atoms.
        source_steps: Pixels from one tap to the next, vertically and horizontally.
        factor_steps: Bytes in the atoms from one tap to the next.
        rows: Taps of each row, and the bytes from an image's first atom to that of the first tap.
        columns: The same of each column.
        out: Address of ``[pixels of results, m, C]``.
    """
    from acda.ops.cpu import loops

    num_atoms, taps = atoms.shape[1:]
    of_image, of_row, of_column = image_strides(source)
    of_atom = taps * atoms.element_size()
    numbers = loops.Combine(
        *results.shape,
        channels=source.shape[3],
        source=source.data_ptr() + results.images.start * of_image,
        source_of_image=of_image,
        source_of_row=source_steps[0] * of_row,
        source_of_column=source_steps[1] * of_column,
        factor=atoms.data_ptr(),
        factor_of_image=outputs.shape[1] * outputs.shape[2] * num_atoms * of_atom,
        factor_of_row=factor_steps[0],
        factor_of_column=factor_steps[1],
        factor_of_atom=of_atom,
        out=out,
    )
    return Sums(
        numbers,
        rows[0].table(rows[0].position * of_row, rows[1]),
        columns[0].table(columns[0].position * of_column, columns[1]),
    )
