"""Random problems for the operator."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.oracle import Geometry


class Arguments(NamedTuple):
    """Those of ``adaptive_conv2d``, each as given; the first five are the tensors it differentiates."""

    x: Tensor
    coefficients: Tensor
    bases: Tensor
    weight: Tensor
    bias: Tensor
    stride: int | tuple[int, int]
    padding: int | tuple[int, int] | str
    dilation: int | tuple[int, int]
    groups: int

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self[:5]

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.stride, self.padding, self.dilation)

    def requiring_grad(self) -> "Arguments":
        """Make the same with fresh leaves."""
        return Arguments(*(t.detach().clone().requires_grad_() for t in self.tensors), *self[5:])


def random_problem(
    *,
    images: int = 2,
    in_channels: int = 3,
    out_channels: int = 4,
    size: tuple[int, int] = (5, 6),
    kernel_size: int = 3,
    num_atoms: int = 2,
    num_bases: int = 3,
    geometry: Geometry | None = None,
    groups: int = 1,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Arguments:
    """Draw normal numbers, coefficients in (−1, 1); any bases, so that nothing hangs on the Fourier–Bessel ones."""
    geometry = geometry or Geometry(padding=kernel_size // 2)
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(images, in_channels, *size, generator=g)
    meta = torch.empty(1, 1, *size, device="meta")
    filters = torch.empty(1, 1, kernel_size, kernel_size, device="meta")
    rows, columns = F.conv2d(meta, filters, None, *geometry).shape[2:]
    coefficients = torch.randn(images, num_atoms, num_bases, rows, columns, generator=g).tanh()
    bases = torch.randn(num_bases, kernel_size, kernel_size, generator=g)
    weight = torch.randn(out_channels, in_channels // groups, num_atoms, generator=g)
    bias = torch.randn(out_channels, generator=g)
    tensors = (t.to(dtype) for t in (x, coefficients, bases, weight, bias))
    return Arguments(*tensors, *geometry, groups)
