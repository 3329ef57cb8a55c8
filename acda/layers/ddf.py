"""Decoupled dynamic filter (DDF): a filter for each pixel times a filter for each channel of the image."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.layers.comparator import LEAST_HIDDEN, Comparator, add_bias, centred, windows
from acda.ops.geometry import IntOrPair
from acda.ops.subsampled import mend
from acda.ops.tracing import untraced

_EPS = 1e-5


class DDFConv2d(Comparator):
    """Depthwise convolution whose filter is the product of one generated per pixel and one generated per channel.

    ``y[c, p] = Σ_u Ŝ_p[u] · s_c D̂_c[u] · x[c, p + u] + b[c]``. S is a 1×1 convolution of x to l² values a pixel, taken
    at the centre of the window; ``D = W₂ ReLU(W₁ GAP(x))``, where GAP is the mean over all pixels, has l² values for
    each channel of each image. Both are normalised over their l² taps, ``f̂ = (f − mean f) / (std f + 1e-5) · √2 / l``,
    with the unbiased standard deviation; s is a learnable scale for each channel. Where the channels differ, a 1×1
    convolution first takes x to O channels, since channels do not mix in the above.

    With 256 channels in and out and a 7×7 filter it has 0.68 M parameters, most of them in W₂.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels O of the output.
        kernel_size: Side l of the filter, odd, square and at least 3.
        stride: As in ``Conv2d``.
        padding: Zeros around the input in pixels, ``"same"`` or ``"valid"``.
        bias: Whether to add a bias for each output channel.
        channel_ratio: Width between W₁ and W₂ as a part of O, above 0; the width is at least 4.
        device: Where parameters lie.
        dtype: Their type.

    Shape:
        Input ``[N, C, H, W]``, output ``[N, O, H_out, W_out]``.

    Attributes:
        project: 1×1 convolution to O channels, or nothing where C = O.
        spatial: 1×1 convolution that gives S.
        squeeze: W₁, with bias.
        excite: W₂, with bias.
        scale: s, ``[O]``.
        bias: ``[O]``, or None.

    Raises:
        ValueError: For an argument that is not supported, with its name, what was given and what is allowed.

    Reference:
        Zhou, Jampani, Pi, Liu, Yang, *Decoupled Dynamic Filter Networks*, CVPR 2021.
    """

    _defaults: ClassVar[dict[str, object]] = {"channel_ratio": 0.2}
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
        channel_ratio: float = 0.2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, {})
        side = self.geometry.kernel_size
        if side < 3:
            raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size!r}")
        if not channel_ratio > 0:
            raise ValueError(f"channel_ratio must be above 0, got {channel_ratio}")
        self.channel_ratio = channel_ratio
        hidden_features = max(LEAST_HIDDEN, int(out_channels * channel_ratio))
        self.project: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.project = nn.Conv2d(in_channels, out_channels, 1, bias=False, device=device, dtype=dtype)
        self.spatial = nn.Conv2d(out_channels, side**2, 1, self.stride, device=device, dtype=dtype)
        mend(self.spatial)
        self.squeeze = nn.Linear(out_channels, hidden_features, device=device, dtype=dtype)
        self.excite = nn.Linear(hidden_features, out_channels * side**2, device=device, dtype=dtype)
        self.scale = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters so that the layer preserves the variance of its input.

        Normalised filters have squares of 2 / l² in the mean, so that their product's l² taps would bring the variance
        to 4 / l²; the scale starts at l / 2.
        """
        if isinstance(self.project, nn.Conv2d):
            nn.init.normal_(self.project.weight, std=1 / math.sqrt(self.in_channels))
        for layer in (self.spatial, self.squeeze, self.excite):
            layer.reset_parameters()
        nn.init.constant_(self.scale, self.geometry.kernel_size / 2)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def spatial_filters(self, x: Tensor) -> Tensor:
        """Normalised filters of the pixels, ``[N, l, l, H_out, W_out]``, for projected ``x`` ``[N, O, H, W]``."""
        filters = filter_norm(self.spatial(centred(x, self.geometry)), dim=1)
        return filters.view(-1, *self.kernel_size, *filters.shape[2:])

    def channel_filters(self, x: Tensor) -> Tensor:
        """Normalised filters of the channels, unscaled, ``[N, O, l, l]``, for projected ``x`` ``[N, O, H, W]``."""
        filters = self.excite(F.relu(self.squeeze(x.mean((2, 3)))))
        shape = (x.shape[0], self.out_channels)
        return filter_norm(filters.view(*shape, self.geometry.kernel_size**2), dim=2).view(*shape, *self.kernel_size)

    def convolve(self, x: Tensor) -> Tensor:
        """Filter each channel's window at each pixel with the product of the two filters."""
        x = self.project(x)
        channel = self.channel_filters(x) * self.scale.view(-1, 1, 1)
        weighted = windows(x, self.geometry) * self.spatial_filters(x).movedim((1, 2), (3, 4))[:, None]
        # Matrices of each channel of each image, and not of each pixel: an exported program takes any number of images.
        return add_bias(torch.einsum("nchwuv,ncuv->nchw", weighted, channel), self.bias)


def filter_norm(filters: Tensor, dim: int) -> Tensor:
    """Normalise filters over their l² taps to mean 0 and unbiased standard deviation √2 / l.

    Args:
        filters: Any shape.
        dim: Where the taps lie.

    Returns:
        The same shape; zeros for a filter whose taps are equal, with finite gradients.
    """
    taps = untraced(filters.size, dim)
    centred_filters = filters - filters.mean(dim, keepdim=True)
    # A norm and not std, whose gradient is NaN at 0.
    std = torch.linalg.vector_norm(centred_filters, dim=dim, keepdim=True) / math.sqrt(taps - 1)
    normalised: Tensor = centred_filters / (std + _EPS) * math.sqrt(2 / taps)
    return normalised
