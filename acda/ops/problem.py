"""What every backend is given: the operands of one adaptive convolution, and which gradients are wanted."""

from typing import NamedTuple

from torch import Tensor

from acda.ops.geometry import Geometry


class Problem(NamedTuple):
    """One adaptive convolution, its operands checked: of one floating dtype, on one device, of shapes that fit.

    Attributes:
        x: Input ``[N, C, H, W]``.
        coefficients: Basis coefficients α at each output pixel, ``[N, m, K, H_out, W_out]``.
        bases: Bases ψ, ``[K, l, l]``.
        weight: Compositional coefficients A, ``[O, C / groups, m]``.
        bias: ``[O]``, or None; in backward always None, where it plays no part.
        geometry: Where the windows lie.
        groups: Groups of channels; the atoms are shared by all of them.
    """

    x: Tensor
    coefficients: Tensor
    bases: Tensor
    weight: Tensor
    bias: Tensor | None
    geometry: Geometry
    groups: int

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        """Images, rows, columns and channels of the output."""
        rows, columns = self.coefficients.shape[3:]
        return self.x.shape[0], rows, columns, self.weight.shape[0]


class Needs(NamedTuple):
    """Which gradients are asked for."""

    x: bool
    coefficients: bool
    bases: bool
    weight: bool


Gradients = tuple[Tensor, Tensor, Tensor, Tensor]
"""Those of x, coefficients, bases and weight, each of its shape, or an empty tensor where it is not asked for.

In memory that of x has channels last, that of the coefficients lies as they do, the others are contiguous.
"""
