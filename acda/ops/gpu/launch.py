"""Runs of the Triton kernels: how many programs, and what each is told of the tensors, its tile and its halo."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, gcd, prod
from typing import Any

import torch
from torch import Tensor

from acda.ops.blocks import Block
from acda.ops.geometry import Geometry
from acda.ops.gpu import tile_sizes
from acda.ops.matrix_products import TapLayout

_ATOMS = 8  # of a program, at most: more would leave it few pixels, whose windows overlap little
_COLUMNS = {1: 16, 2: 8, 4: 8, 8: 4}  # of the pixels of a tile, by its atoms: the pitch of taps hangs on them
_LEAST_FACTOR = 16  # side of the least matrix that Triton multiplies
TAP_MULTIPLE = 8  # taps: 16 bytes in the halves, what Tensor Cores read of a row of the atoms, and of the bases
_BUSY = 264  # programs that keep a GPU busy: two for each of the 132 multiprocessors of an H100
_PER_32_BITS = 2**31


def interpreted() -> bool:
    """Whether Triton was told to run kernels in Python, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@dataclass(frozen=True)
class Launch:
    """A run of a kernel that is yet to be made.

    Attributes:
        kernel: Its name in :mod:`acda.ops.gpu.triton_kernels`.
        programs: How many programs to run: tiles of all images, parts of each, blocks of atoms.
        arguments: Arguments of the kernel by name; it writes ``out``.
        options: Options of the compiler by name.
    """

    kernel: str
    programs: tuple[int, int, int]
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
            getattr(triton_kernels, self.kernel)[self.programs](**arguments, **self.options)
        if arguments["out"] is not out:
            out.copy_(arguments["out"])


@dataclass(frozen=True)
class _Steps:
    """How pixels follow each other on one axis so that a convolution with dilation looks like one without.

    Pixels of a tile that lie ``tile`` apart meet pixels of the halo that lie ``halo`` apart, at taps that follow each
    other: tile pixel v and halo pixel j at tap ``j − v · stride``, or if transposed ``first + v − j · stride``.

    Attributes:
        tile: Pixels from one of the tile to the next.
        halo: Pixels from one of the halo to the next.
        stride: That of the convolution without dilation.
        inverse: Of ``stride`` modulo the distance of output pixels: of those whose windows' taps fall on an input
            pixel, one is found by it.
    """

    tile: int
    halo: int
    stride: int
    inverse: int

    @classmethod
    def of(cls, stride: int, dilation: int, transposed: bool) -> "_Steps":
        common = gcd(stride, dilation)
        inputs, outputs = dilation, dilation // common
        tile, halo = (inputs, outputs) if transposed else (outputs, inputs)
        return cls(tile, halo, stride // common, pow(stride // common, -1, outputs))

    def meet(self, pixels: int, kernel_size: int, transposed: bool) -> int:
        """Count pixels of the halo of so many of a tile."""
        if transposed:
            return (pixels - 1 + kernel_size - 1) // self.stride + 1
        return (pixels - 1) * self.stride + kernel_size


def tap_layout(geometry: Geometry, num_atoms: int) -> TapLayout:
    """Space the rows of taps so that tap index is pixel of the halo less a number that the tile's pixel has.

    That holds for every tile, since all are of the same columns: in rows of a halo, laid one after the other, the taps
    of a window are found between zeros. The last number is zero, too.
    """
    side, columns = geometry.kernel_size, _COLUMNS[_tile_atoms(num_atoms)]
    stride = _Steps.of(geometry.stride[1], geometry.dilation[1], transposed=False).stride
    pitch = side + (columns - 1) * stride
    return TapLayout(pitch, ceil(((side - 1) * pitch + side + 1) / TAP_MULTIPLE) * TAP_MULTIPLE)


def plan(
    kernel: tile_sizes.Kernel,
    source: Tensor,
    region: Block,
    written: Block,
    tensors: Mapping[str, Tensor],
    geometry: Geometry,
    capability: tuple[int, int],
) -> Launch:
    """Plan a run.

    Args:
        kernel: What it computes. For ``"gather"`` output pixels are read and input pixels written.
        source: ``[N, H, W, C]``, of which the halo's pixels are read.
        region: Pixels of the source that may be read.
        written: Pixels that results are for.
        tensors: The kernel's other tensors by name; its atoms ``[pixels, m, T]`` are the ``out`` of ``"correlate"``.
        geometry: Where the windows lie.
        capability: Compute capability of the GPU.
    """
    channels, side, transposed = source.shape[3], geometry.kernel_size, kernel == "gather"
    num_atoms, taps = tensors["out" if kernel == "correlate" else "atoms"].shape[1:]
    tile = tile_sizes.choose(kernel, source.dtype, capability, side)
    tile_atoms = _tile_atoms(num_atoms)
    columns = _COLUMNS[tile_atoms]
    sides = (tile.rows // tile_atoms // columns, columns)
    steps = [_Steps.of(*axis, transposed) for axis in zip(geometry.stride, geometry.dilation, strict=True)]
    halo = [step.meet(pixels, side, transposed) for step, pixels in zip(steps, sides, strict=True)]
    block_halo = min(tile.halo, max(_LEAST_FACTOR, _power_of_two(prod(halo))))
    block_channels = min(tile.channels, max(_LEAST_FACTOR, _power_of_two(channels)))
    images, *lengths = written.shape
    tiles = images * prod(
        ceil(length / (pixels * step.tile)) * step.tile
        for length, pixels, step in zip(lengths, sides, steps, strict=True)
    )
    atom_blocks = ceil(num_atoms / tile_atoms)
    arguments = {
        "source": source,
        **tensors,
        **_extents(source, region),
        "channels": channels,
        "num_atoms": num_atoms,
        "block_rows": lengths[0],
        "block_columns": lengths[1],
        **_origin(region, written, geometry, transposed),
        "TAPS": taps,
        "SIDE": side,
        "TILE": (*sides, tile_atoms),
        "TILE_STEP": tuple(step.tile for step in steps),
        "HALO": tuple(halo),
        "HALO_STEP": tuple(step.halo for step in steps),
        "STRIDE": geometry.stride,
        "DILATION": geometry.dilation,
        "BLOCK_HALO": block_halo,
        "BLOCK_CHANNELS": block_channels,
        "WIDE": _farthest(source, region, tensors, halo, steps) >= _PER_32_BITS,
        "PRECISION": _precision(source.dtype),
    }
    if kernel == "correlate":
        parts = ceil(prod(halo) / block_halo)
    else:
        # A program with the whole halo in one factor makes it once for all channels, if there are tiles enough.
        at_once = block_halo >= prod(halo) and tiles * atom_blocks >= _BUSY
        parts = 1 if at_once else ceil(channels / block_channels)
        arguments |= {
            "PITCH": tap_layout(geometry, num_atoms).pitch,
            "TRANSPOSED": transposed,
            "INVERSE": tuple(step.inverse for step in steps),
            "part_channels": channels if at_once else block_channels,
        }
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}
    if tile.registers is not None:
        options["maxnreg"] = tile.registers
    return Launch("correlate" if kernel == "correlate" else "convolve", (tiles, parts, atom_blocks), arguments, options)


def _tile_atoms(num_atoms: int) -> int:
    return min(_ATOMS, _power_of_two(num_atoms))


def _precision(dtype: torch.dtype) -> str:
    return "tf32" if dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


def _farthest(
    source: Tensor, region: Block, tensors: Mapping[str, Tensor], halo: list[int], steps: list[_Steps]
) -> int:
    """Bound the distance of elements that the pixels of a halo are at, in the source or in the atoms of a region."""
    rows = halo[0] * steps[0].halo + 1
    of_pixel = prod(tensors["atoms"].shape[1:]) if "atoms" in tensors else 0
    return rows * max(source.shape[2] * source.shape[3], region.shape[2] * of_pixel)


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


def _origin(region: Block, written: Block, geometry: Geometry, transposed: bool) -> dict[str, int]:
    """Tell where the block written lies in the region; for what that means see the kernels."""
    starts = ((written.rows.start, region.rows.start), (written.columns.start, region.columns.start))
    origin = [
        first + padding - first_read * stride if transposed else first * stride - padding - first_read
        for (first, first_read), stride, padding in zip(starts, geometry.stride, geometry.padding, strict=True)
    ]
    return {"origin_v": origin[0], "origin_h": origin[1]}


def _power_of_two(least: int) -> int:
    """Find the smallest that is not less."""
    return 1 << (least - 1).bit_length()
