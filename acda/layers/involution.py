"""Involution: a filter for each pixel, generated from that pixel and shared by the channels of a group."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.layers.comparator import LEAST_HIDDEN, Comparator, add_bias, windows
from acda.layers.factory import NormFactory
from acda.ops.geometry import IntOrPair
from acda.ops.tracing import untraced

_CHANNELS_PER_GROUP = 16


class Involution2d(Comparator):
    """Depthwise convolution whose filter is generated at each pixel, one for each group of channels.

    ``H(p) = W₂ ReLU(norm(W₁ x̄(p))) ∈ R^{G×l²}``, ``y[c, p] = Σ_u H_{g(c)}(p)[u] · x[c, p + u] + b[c]`` with two 1×1
    convolutions. x̄(p) is the pixel at the centre of the window, or, where the stride s is above 1, the mean of the s×s
    pixels from there on, as far as the image reaches. Where the channels differ, a 1×1 convolution first takes x to O
    channels, since channels do not mix in the above.

    Groups are G = O/16 as in the original; where that is no divisor of O, the next smaller one.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the filter, odd and square.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        bias: Whether to add a bias for each output channel.
        reduction: r; the generator is O / r channels wide, but at least 4.
        norm: Makes the generator's norm from its channels; None for none.
        device: Where parameters lie.
        dtype: Their type.

    Shape:
        Input ``[N, C, H, W]``, output ``[N, O, H_out, W_out]``.

    Attributes:
        groups: G.
        project: 1×1 convolution to O channels, or nothing where C = O.
        reduce: W₁; it has a bias only without norm.
        norm: Norm after it.
        span: W₂, with bias.
        bias: ``[O]``, or None.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.

    Reference:
        Li, Hu, Wang, Li, She, Zhu, Zhang, Chen, *Involution: Inverting the Inherence of Convolution for Visual
        Recognition*, CVPR 2021.
    """

    _defaults: ClassVar[dict[str, object]] = {"reduction": 4}
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
        reduction: int = 4,
        norm: NormFactory | None = nn.BatchNorm2d,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, {"reduction": reduction})
        self.reduction = int(reduction)
        most = max(1, out_channels // _CHANNELS_PER_GROUP)
        self.groups = next(groups for groups in range(most, 0, -1) if out_channels % groups == 0)
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False, device=device, dtype=dtype)
        hidden_channels = max(LEAST_HIDDEN, out_channels // reduction)
        taps = self.geometry.kernel_size**2
        self.reduce = nn.Conv2d(out_channels, hidden_channels, 1, bias=norm is None, device=device, dtype=dtype)
        self.norm = nn.Identity() if norm is None else norm(hidden_channels).to(device=device, dtype=dtype)
        self.span = nn.Conv2d(hidden_channels, taps * self.groups, 1, device=device, dtype=dtype)
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters so that the layer preserves the variance of its input.

        W₁ keeps the variance, ReLU halves the mean square, and W₂ gives filters of variance 1 / l².
        """
        hidden_square = self.span.in_channels / 2
        for conv, fan_in in (
            (self.project, self.in_channels),
            (self.reduce, self.out_channels),
            (self.span, hidden_square * self.geometry.kernel_size**2),
        ):
            if isinstance(conv, nn.Conv2d):
                nn.init.normal_(conv.weight, std=1 / math.sqrt(fan_in))
        for bias in (self.reduce.bias, self.span.bias, self.bias):
            if bias is not None:
                nn.init.zeros_(bias)
        reset = getattr(self.norm, "reset_parameters", None)
        if reset is not None:
            reset()

    def filters(self, x: Tensor) -> Tensor:
        """Generate the pixels' filters, ``[N, G, l, l, H_out, W_out]``, for projected ``x`` ``[N, O, H, W]``."""
        rows, columns = untraced(lambda: self.geometry.output_size(x.shape[2], x.shape[3]))
        vertical, horizontal = (p - side // 2 for p, side in zip(self.padding, self.kernel_size, strict=True))
        # From the first window's centre on; a window centred beyond the image sees zeros.
        x = F.pad(x, (horizontal, max(0, horizontal), vertical, max(0, vertical)))
        if self.stride != (1, 1):
            x = F.avg_pool2d(x, self.stride, ceil_mode=True)
        filters: Tensor = self.span(F.relu(self.norm(self.reduce(x[:, :, :rows, :columns]))))
        return filters.view(-1, self.groups, *self.kernel_size, rows, columns)

    def convolve(self, x: Tensor) -> Tensor:
        """Filter each pixel's windows with its own filters."""
        rows, columns = self.output_size(x)
        x = self.project(x)
        of_groups = (x.shape[0], self.groups, self.out_channels // self.groups, rows, columns)
        patches = windows(x, self.geometry).view(*of_groups, *self.kernel_size)
        y = torch.einsum("ngchwuv,nguvhw->ngchw", patches, self.filters(x))
        return add_bias(y.flatten(1, 2), self.bias)
