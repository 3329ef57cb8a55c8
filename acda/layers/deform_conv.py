"""Deformable convolution v2: the taps of the window move, and weigh, as the image asks at each pixel."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from acda.layers.comparator import Comparator
from acda.ops.geometry import IntOrPair
from acda.ops.tracing import is_in_forward_mode


class DeformConv2d(Comparator):
    """Convolution whose window has, at each pixel, its own offset and modulation for each tap.

    ``y[o, p] = Σ_{c,u} W[o, c, u] · m_u(p) · x[c, p + u + Δ_u(p)] + b[o]``, interpolated bilinearly. One convolution of
    x with the same kernel size, stride and padding, zero at the start, gives the offsets Δ in pixels and the logits of
    m = sigmoid(·) ∈ (0, 1). As in the original, m is not doubled: at the start it is 1/2 everywhere. That convolution
    has 3l²·(C·l² + 1) parameters: 1.8 M beside the kernel's 3.2 M with 256 channels in and out and a 7×7 kernel.

    Needs torchvision, which holds the operator; the rest of ``acda`` does not. The operator works in float32 or
    float64: narrower types are widened for it and its result is narrowed again.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the kernel, square.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        bias: Whether to add a bias for each output channel.
        device: Where parameters lie.
        dtype: Their type.

    Shape:
        Input ``[N, C, H, W]``, output ``[N, O, H_out, W_out]``.

    Attributes:
        weight: Kernel W, ``[O, C, l, l]``.
        bias: ``[O]``, or None.
        offset: The convolution that gives 2·l² offsets, for each tap the vertical one first, and l² logits of m.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.

    Reference:
        Zhu, Hu, Lin, Dai, *Deformable ConvNets v2: More Deformable, Better Results*, CVPR 2019.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, {}, odd=False)
        _load_operator()
        side = self.geometry.kernel_size
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, side, side, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.offset = nn.Conv2d(in_channels, 3 * side**2, side, self.stride, self.padding, device=device, dtype=dtype)
        self.reset_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a pickle's state; the process may not have made a layer before."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        _load_operator()

    def reset_parameters(self) -> None:
        """Zero offsets, and draw the kernel such that the layer preserves the variance of its input.

        Its variance is 4 / (C·l²), since the modulation of 1/2 takes a quarter of it.
        """
        nn.init.normal_(self.weight, std=2 / math.sqrt(self.weight[0].numel()))
        for tensor in (self.offset.weight, self.offset.bias, self.bias):
            if tensor is not None:
                nn.init.zeros_(tensor)

    def offsets(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets in pixels ``[N, 2·l², H_out, W_out]`` and modulation ``[N, l², H_out, W_out]`` for ``x``."""
        taps = self.geometry.kernel_size**2
        offsets, logits = self.offset(x).split((2 * taps, taps), dim=1)
        return offsets, torch.sigmoid(logits)

    def convolve(self, x: Tensor) -> Tensor:
        """Apply the deformable convolution."""
        from torchvision.ops import deform_conv2d  # type: ignore[import-untyped]

        if is_in_forward_mode():
            raise NotImplementedError(
                "DeformConv2d has derivatives in reverse mode alone: torchvision's operator would drop tangents"
            )
        offsets, modulation = self.offsets(x)
        wide = torch.promote_types(x.dtype, torch.float32)
        bias = None if self.bias is None else self.bias.to(wide)
        y: Tensor = deform_conv2d(
            x.to(wide),
            offsets.to(wide),
            self.weight.to(wide),
            bias,
            self.stride,
            self.padding,
            mask=modulation.to(wide),
        )
        return y.to(offsets.dtype)  # that of a convolution, which autocast may have chosen


@cache
def _load_operator() -> None:
    """Load torchvision's operator, and tell PyTorch what it costs, which nobody else does."""
    import torchvision.ops  # type: ignore[import-untyped]  # noqa: F401
    from torch.utils.flop_counter import flop_registry, register_flop_formula

    forward, backward = torch.ops.torchvision.deform_conv2d, torch.ops.torchvision._deform_conv2d_backward
    if forward not in flop_registry:
        register_flop_formula(forward)(lambda x, weight, offset, *_, **__: 2 * _macs(weight, offset))
        register_flop_formula(backward)(lambda grad, x, weight, offset, *_, **__: 4 * _macs(weight, offset))


def _macs(weight: Sequence[int], offset: Sequence[int]) -> int:
    """Multiply-accumulates from shapes: those of a convolution; interpolation is not counted."""
    return math.prod(weight) * offset[0] * offset[2] * offset[3]
