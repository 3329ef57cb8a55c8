"""The GPU backend: :mod:`acda.ops.matrix_products` with kernels that Triton compiles."""

import operator
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from acda.ops import matrix_products
from acda.ops.blocks import Block
from acda.ops.geometry import Geometry
from acda.ops.gpu import tile_sizes
from acda.ops.gpu.launch import TAP_MULTIPLE, Launch, plan, tap_layout
from acda.ops.gpu.requirements import ask_capability
from acda.ops.matrix_products import TapLayout

# What exists between input and output for one block has about this many elements: 128 MB in bfloat16. Several images
# make a block unless they are large, so that launching kernels costs little beside running them.
_BLOCK_ELEMENTS = 2**26


class Kernels:
    """The Triton kernels; see :class:`acda.ops.matrix_products.Kernels`.

    Args:
        run: What to do with a launch; default: make it.
        capability: Compute capability to plan launches for; default: that of the GPU that the tensors are on, or the
            least where kernels are interpreted.
    """

    def __init__(
        self, run: Callable[[Launch], object] = operator.call, capability: tuple[int, int] | None = None
    ) -> None:
        self._run = run
        self._fixed_capability = capability

    def tap_layout(self, geometry: Geometry, num_atoms: int) -> TapLayout:
        """As the halo of a tile has them, see :func:`acda.ops.gpu.launch.tap_layout`."""
        return tap_layout(geometry, num_atoms)

    def grad_layout(self, geometry: Geometry) -> TapLayout:
        """One after the other."""
        return TapLayout.packed(geometry.kernel_size, TAP_MULTIPLE)

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Every dtype is computed in itself."""
        return dtype

    def block_pixels(self, elements_per_pixel: int) -> int:
        """As many as keep a GPU busy."""
        return _BLOCK_ELEMENTS // elements_per_pixel

    def convolve(self, x: Tensor, atoms: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        """Convolve with the atoms."""
        if out.numel():
            tensors = {"atoms": atoms, "out": out}
            self._run(plan("forward", x, _whole(outputs, x), outputs, tensors, geometry, self._capability_of(x)))

    def gather(
        self, grad: Tensor, atoms: Tensor, inputs: Block, outputs: Block, geometry: Geometry, out: Tensor
    ) -> None:
        """Convolve with the transposed atoms."""
        if not outputs.pixels:
            out.zero_()
        elif out.numel():
            tensors, capability = {"atoms": atoms, "out": out}, self._capability_of(grad)
            self._run(plan("gather", grad, outputs, inputs, tensors, geometry, capability))

    def correlate(self, x: Tensor, grad_z: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        """Compute the gradient of the atoms."""
        if out.numel():
            tensors = {"grad": grad_z, "out": out}
            self._run(plan("correlate", x, _whole(outputs, x), outputs, tensors, geometry, self._capability_of(x)))

    def _capability_of(self, tensor: Tensor) -> tuple[int, int]:
        if self._fixed_capability is not None:
            return self._fixed_capability
        return ask_capability(tensor.device.index) if tensor.is_cuda else tile_sizes.LEAST_CAPABILITY


def _whole(outputs: Block, x: Tensor) -> Block:
    """All pixels ``[N, H, W, C]`` of the images of a block."""
    return Block(outputs.images, slice(0, x.shape[1]), slice(0, x.shape[2]))


forward = partial(matrix_products.forward, Kernels())
backward = partial(matrix_products.backward, Kernels())
