"""Runs of the Triton kernels: how many programs, and what each is told of the tensors, its tile and its halo."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from acda.ops.blocks import Block
from acda.ops.geometry import Geometry
from acda.ops.gpu import tile_sizes

_ATOMS = 8  # of a program, at most: more would leave it few pixels, whose windows overlap little
_LEAST_FACTOR = 16  # side of the least matrix that Triton multiplies


def interpreted() -> bool:
    """Whether Triton was told to run kernels in Python, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@dataclass(frozen=True)
class Launch:
    """A run of a kernel that is yet to be made.

    Attributes:
        kernel: Its name in :mod:`acda.ops.gpu.triton_kernels`.
        programs: How many programs to run.
        arguments: Arguments of the kernel by name; it writes ``out``.
        options: Options of the compiler by name.
    """

    kernel: str
    programs: int
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]

    def __call__(self) -> None:
        """Make the run."""
        from acda.ops.gpu import triton_kernels

        arguments, out = dict(self.arguments), self.arguments["out"]
        if interpreted():  # where bfloat16 is multiplied as if it were an integer, and cut off instead of rounded
            halves = {n: t for n, t in arguments.items() if isinstance(t, Tensor) and t.dtype == torch.bfloat16}
            arguments |= {name: tensor.float() for name, tensor in halves.items()}
        with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
            getattr(triton_kernels, self.kernel)[(self.programs,)](**arguments, **self.options)
        if arguments["out"] is not out:
            out.copy_(arguments["out"])


def plan(
    kernel: str,
    source: Tensor,
    region: Block,
    written: Block,
    tensors: Mapping[str, Tensor],
    geometry: Geometry,
    capability: tuple[int, int],
    transposed: bool = False,
) -> Launch:
    """Plan a run.

    Args:
        kernel: Its name, ``"convolve"`` or ``"correlate"``.
        source: ``[N, H, W, C]``, of which the halo's pixels are read.
        region: Pixels of the source that may be read.
        written: Pixels that results are for.
        tensors: The kernel's other tensors by name; its atoms ``[pixels, m, T]`` are the ``out`` of ``"correlate"``.
        geometry: Where the windows lie.
        capability: Compute capability of the GPU.
        transposed: Whether output pixels are read and input pixels written.
    """
    channels = source.shape[3]
    _, num_atoms, taps = tensors["atoms" if kernel == "convolve" else "out"].shape
    tile = tile_sizes.choose(kernel, source.dtype, capability)
    tile_atoms = min(_ATOMS, _power_of_two(num_atoms))
    sides = _sides(tile.rows // tile_atoms)
    origin, halo = _origin_and_halo(sides, region, written, geometry, transposed)
    block_halo = min(tile.halo, max(_LEAST_FACTOR, _power_of_two(prod(halo))))
    block_channels = min(tile.channels, max(_LEAST_FACTOR, _power_of_two(channels)))
    images, rows, columns = written.shape
    programs = (
        images * ceil(rows / sides[0]) * ceil(columns / sides[1]),
        ceil(num_atoms / tile_atoms),
        ceil(channels / block_channels) if kernel == "convolve" else ceil(prod(halo) / block_halo),
    )
    tf32 = source.dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    arguments = {
        "source": source,
        **tensors,
        **_extents(source, region),
        "channels": channels,
        "num_atoms": num_atoms,
        "block_rows": rows,
        "block_columns": columns,
        "origin_v": origin[0],
        "origin_h": origin[1],
        "TAPS": taps,
        "SIDE": geometry.kernel_size,
        "STRIDE": geometry.stride,
        "DILATION": geometry.dilation,
        "TILE": (*sides, tile_atoms),
        "HALO": halo,
        "BLOCK_HALO": block_halo,
        "BLOCK_CHANNELS": block_channels,
        "PRECISION": "tf32" if tf32 else "ieee",
    }
    if kernel == "convolve":
        arguments["TRANSPOSED"] = transposed
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}
    return Launch(kernel, prod(programs), arguments, options)


def _sides(pixels: int) -> tuple[int, int]:
    """Choose rows and columns of a tile of so many pixels, powers of two and as equal as can be."""
    rows = 1 << (pixels.bit_length() - 1) // 2
    return rows, pixels // rows


def _extents(source: Tensor, region: Block) -> dict[str, int]:
    """Describe a region of ``[N, H, W, C]`` as the kernels take it."""
    _, rows, columns, _ = source.shape
    return {
        "source_first": (region.images.start * rows + region.rows.start) * columns + region.columns.start,
        "source_rows": rows,
        "source_columns": columns,
        "region_rows": region.shape[1],
        "region_columns": region.shape[2],
    }


def _origin_and_halo(
    sides: tuple[int, int], region: Block, written: Block, geometry: Geometry, transposed: bool
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the block written lies in the region, and rows and columns of the pixels that meet a tile of these sides.

    For what that means see :mod:`acda.ops.gpu.triton_kernels`.
    """
    origin, halo = [], []
    for axis, (first, first_read) in enumerate(
        ((written.rows.start, region.rows.start), (written.columns.start, region.columns.start))
    ):
        stride, padding = geometry.stride[axis], geometry.padding[axis]
        reach = (geometry.kernel_size - 1) * geometry.dilation[axis]
        if transposed:
            origin.append(first + padding - first_read * stride)
            halo.append((sides[axis] - 1 + reach) // stride + 1)
        else:
            origin.append(first * stride - padding - first_read)
            halo.append((sides[axis] - 1) * stride + reach + 1)
    return (origin[0], origin[1]), (halo[0], halo[1])


def _power_of_two(least: int) -> int:
    """Find the smallest that is not less."""
    return 1 << (least - 1).bit_length()
