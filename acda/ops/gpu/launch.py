"""The GPU backend: :mod:`acda.ops.blocked` with kernels that Triton compiles."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor

from acda.ops import blocked
from acda.ops.blocks import Block
from acda.ops.geometry import Geometry
from acda.ops.gpu import tiles

# What exists between input and output for one block has about this many elements: 128 MB in bfloat16. Several images
# make a block unless they are large, so that launching kernels costs little beside running them.
_BLOCK_ELEMENTS = 2**26
TAP_MULTIPLE = 8  # 16 bytes in the halves: what Tensor Cores read of a row of the atoms, and of the bases
_ATOMS = 8  # of a program, at most: more would leave it few pixels, whose windows overlap little
_LEAST_FACTOR = 16  # side of the least matrix that Triton multiplies
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_HAS_TRITON = find_spec("triton") is not None


@cache
def _ask_capability(device: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _capability(device: int) -> tuple[int, int]:
    return _ask_capability(device)


def _interpreted() -> bool:
    """Whether Triton was told to run kernels in Python, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def cannot_run(x: Tensor) -> str | None:
    """Why the Triton kernels cannot take this input, or None if they can.

    They run on the CPU for tests only, if ``TRITON_INTERPRET=1`` is set before Triton is imported.
    """
    if not _HAS_TRITON:
        return "triton is not installed"
    if x.dtype not in _DTYPES:
        return f"it computes in float32, bfloat16 and float16, x is {x.dtype}"
    if x.device.type == "cpu" and _interpreted():
        return None
    if x.device.type != "cuda" or torch.version.hip is not None:
        return f"it needs a CUDA GPU, x is on {x.device}"
    capability = _capability(x.device.index)
    if capability < tiles.LEAST_CAPABILITY:
        least, have = (".".join(map(str, c)) for c in (tiles.LEAST_CAPABILITY, capability))
        return f"it needs a GPU of compute capability {least}, x is on one of {have}"
    return None


@dataclass(frozen=True)
class Launch:
    """A run of a kernel that is yet to be made.

    Attributes:
        kernel: Its name in :mod:`acda.ops.gpu.kernels`.
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
        from acda.ops.gpu import kernels

        arguments, out = dict(self.arguments), self.arguments["out"]
        if _interpreted():  # where bfloat16 is multiplied as if it were an integer, and cut off instead of rounded
            halves = {n: t for n, t in arguments.items() if isinstance(t, Tensor) and t.dtype == torch.bfloat16}
            arguments |= {name: tensor.float() for name, tensor in halves.items()}
        with torch.cuda.device_of(out):  # type: ignore[no-untyped-call]
            getattr(kernels, self.kernel)[(self.programs,)](**arguments, **self.options)
        if arguments["out"] is not out:
            out.copy_(arguments["out"])


def _power_of_two(least: int) -> int:
    """The smallest that is not less."""
    return 1 << (least - 1).bit_length()


def _launch(
    kernel: str,
    source: Tensor,
    region: Block,
    written: Block,
    tensors: dict[str, Tensor],
    atoms: Tensor,
    geometry: Geometry,
    capability: tuple[int, int],
    transposed: bool = False,
) -> Launch:
    """What the three kernels have in common.

    Args:
        kernel: Its name.
        source: ``[N, H, W, C]``, of which the halo's pixels are read.
        region: Pixels of the source that may be read.
        written: Pixels that results are for.
        tensors: The kernel's other tensors.
        atoms: The one among them that is ``[pixels, m, T]``.
        geometry: Where the windows lie.
        capability: Compute capability of the GPU.
        transposed: Whether output pixels are read and input pixels written.
    """
    _, rows, columns, channels = source.shape
    num_atoms = atoms.shape[1]
    tile = tiles.choose(kernel, source.dtype, capability)
    tile_atoms = min(_ATOMS, _power_of_two(num_atoms))
    tile_pixels = tile.rows // tile_atoms
    tile_rows = 1 << (tile_pixels.bit_length() - 1) // 2
    sides = (tile_rows, tile_pixels // tile_rows)
    corners = ((written.rows.start, region.rows.start), (written.columns.start, region.columns.start))
    origin, halo = [], []
    for side, (first, first_read), stride, padding, dilation in zip(
        sides, corners, geometry.stride, geometry.padding, geometry.dilation, strict=True
    ):
        reach = (geometry.kernel_size - 1) * dilation
        if transposed:
            origin.append(first + padding - first_read * stride)
            halo.append((side - 1 + reach) // stride + 1)
        else:
            origin.append(first * stride - padding - first_read)
            halo.append((side - 1) * stride + reach + 1)
    block_halo = min(tile.halo, max(_LEAST_FACTOR, _power_of_two(prod(halo))))
    block_channels = min(tile.channels, max(_LEAST_FACTOR, _power_of_two(channels)))
    images, block_rows, block_columns = written.shape
    programs = (
        images * ceil(block_rows / sides[0]) * ceil(block_columns / sides[1]),
        ceil(num_atoms / tile_atoms),
        ceil(channels / block_channels) if kernel == "convolve" else ceil(prod(halo) / block_halo),
    )
    tf32 = source.dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    arguments = {
        "source": source,
        **tensors,
        "channels": channels,
        "num_atoms": num_atoms,
        "source_first": (region.images.start * rows + region.rows.start) * columns + region.columns.start,
        "source_rows": rows,
        "source_columns": columns,
        "region_rows": region.shape[1],
        "region_columns": region.shape[2],
        "block_rows": block_rows,
        "block_columns": block_columns,
        "origin_v": origin[0],
        "origin_h": origin[1],
        "TAPS": atoms.shape[2],
        "SIDE": geometry.kernel_size,
        "STRIDE": geometry.stride,
        "DILATION": geometry.dilation,
        "TILE": (*sides, tile_atoms),
        "HALO": (halo[0], halo[1]),
        "BLOCK_HALO": block_halo,
        "BLOCK_CHANNELS": block_channels,
        "PRECISION": "tf32" if tf32 else "ieee",
    }
    if kernel == "convolve":
        arguments["TRANSPOSED"] = transposed
    options = {"num_warps": tile.warps, "num_stages": tile.stages, "enable_fp_fusion": True}
    return Launch(kernel, prod(programs), arguments, options)


def convolve(
    x: Tensor, atoms: Tensor, outputs: Block, geometry: Geometry, out: Tensor, capability: tuple[int, int]
) -> Launch:
    """The launch that computes :meth:`acda.ops.blocked.Kernels.convolve` on a GPU of this compute capability."""
    image = Block(outputs.images, slice(0, x.shape[1]), slice(0, x.shape[2]))
    tensors = {"atoms": atoms, "out": out}
    return _launch("convolve", x, image, outputs, tensors, atoms, geometry, capability)


def gather(
    grad: Tensor,
    atoms: Tensor,
    inputs: Block,
    outputs: Block,
    geometry: Geometry,
    out: Tensor,
    capability: tuple[int, int],
) -> Launch:
    """The launch that computes :meth:`acda.ops.blocked.Kernels.gather` on a GPU of this compute capability."""
    tensors = {"atoms": atoms, "out": out}
    return _launch("convolve", grad, outputs, inputs, tensors, atoms, geometry, capability, transposed=True)


def correlate(
    x: Tensor, grad_z: Tensor, outputs: Block, geometry: Geometry, out: Tensor, capability: tuple[int, int]
) -> Launch:
    """The launch that computes :meth:`acda.ops.blocked.Kernels.correlate` on a GPU of this compute capability."""
    image = Block(outputs.images, slice(0, x.shape[1]), slice(0, x.shape[2]))
    return _launch("correlate", x, image, outputs, {"grad": grad_z, "out": out}, out, geometry, capability)


def _capability_of(tensor: Tensor) -> tuple[int, int]:
    """That of the tensor's GPU, or the least where kernels are interpreted."""
    capability: tuple[int, int] = _capability(tensor.device.index) if tensor.is_cuda else tiles.LEAST_CAPABILITY
    return capability


class _Kernels:
    """The three kernels; see :class:`acda.ops.blocked.Kernels`."""

    tap_multiple = TAP_MULTIPLE

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        return dtype

    def block_pixels(self, elements_per_pixel: int) -> int:
        return _BLOCK_ELEMENTS // elements_per_pixel

    def convolve(self, x: Tensor, atoms: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        if out.numel():
            convolve(x, atoms, outputs, geometry, out, _capability_of(x))()

    def gather(
        self, grad: Tensor, atoms: Tensor, inputs: Block, outputs: Block, geometry: Geometry, out: Tensor
    ) -> None:
        if not outputs.pixels:
            out.zero_()
        elif out.numel():
            gather(grad, atoms, inputs, outputs, geometry, out, _capability_of(grad))()

    def correlate(self, x: Tensor, grad_z: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        if out.numel():
            correlate(x, grad_z, outputs, geometry, out, _capability_of(x))()


forward = partial(blocked.forward, _Kernels())
backward = partial(blocked.backward, _Kernels())
