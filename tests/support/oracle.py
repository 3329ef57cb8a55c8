"""What an adaptive convolution is: at every output pixel a filter of its own. Naive, in float64, pixel by pixel.

It shares no code with the package: the input is padded by indexing, the windows are sliced one by one. Gradients come
from autograd.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Pair = tuple[int, int]
_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


class Geometry(NamedTuple):
    """A convolution's arguments, each as given to ``Conv2d``."""

    stride: int | Pair = 1
    padding: int | Pair | str = 0
    dilation: int | Pair = 1

    def pairs(self, kernel_size: int) -> tuple[Pair, Pair, Pair]:
        stride, dilation = _pair(self.stride), _pair(self.dilation)
        if self.padding == "same":
            return stride, (dilation[0] * (kernel_size - 1) // 2, dilation[1] * (kernel_size - 1) // 2), dilation
        return stride, (0, 0) if isinstance(self.padding, str) else _pair(self.padding), dilation


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _pad(x: Tensor, padding: Pair, mode: str) -> Tensor:
    vertical, horizontal = padding
    if mode == "zeros":
        return F.pad(x, (horizontal, horizontal, vertical, vertical))
    rows = np.pad(np.arange(x.shape[2]), vertical, mode=_NUMPY_MODES[mode])
    columns = np.pad(np.arange(x.shape[3]), horizontal, mode=_NUMPY_MODES[mode])
    return x[:, :, torch.from_numpy(rows)][..., torch.from_numpy(columns)]


def compose_filters(coefficients: Tensor, bases: Tensor, weight: Tensor) -> Tensor:
    """``K_p[o, c] = Σ_b A[o, c, b] Σ_k α[b, k, p] ψ[k]``, as ``[N, O, C / groups, l, l, H, W]``."""
    atoms = torch.einsum("nbkhw,kuv->nbuvhw", coefficients.double(), bases.double())
    return torch.einsum("ocb,nbuvhw->nocuvhw", weight.double(), atoms)


def apply_filters(x: Tensor, filters: Tensor, geometry: Geometry, padding_mode: str = "zeros") -> Tensor:
    """Apply ``filters`` ``[N, O, C / groups, l, l, H_out, W_out]`` to ``x`` ``[N, C, H, W]``, each at its pixel."""
    images, out_channels, in_per_group, side, _, rows, columns = filters.shape
    stride, padding, dilation = geometry.pairs(side)
    padded = _pad(x.double(), padding, padding_mode)
    groups = x.shape[1] // in_per_group
    pixels = []
    for p, filter_of_pixel in enumerate(filters.double().flatten(5).unbind(-1)):
        top, left = p // columns * stride[0], p % columns * stride[1]
        bottom, right = top + dilation[0] * (side - 1) + 1, left + dilation[1] * (side - 1) + 1
        window = padded[:, :, top : bottom : dilation[0], left : right : dilation[1]]
        window = window.reshape(images, groups, 1, -1)
        pixels.append((window * filter_of_pixel.reshape(images, groups, out_channels // groups, -1)).sum(-1).flatten(1))
    return torch.stack(pixels, dim=-1).view(images, out_channels, rows, columns)


def adaptive_conv2d(
    x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Apply the operator by its definition."""
    y = apply_filters(x, compose_filters(coefficients, bases, weight), geometry)
    return y if bias is None else y + bias.double().view(-1, 1, 1)


def error_ratio(value: Tensor, truth: Tensor) -> float:
    """``‖value − truth‖ / ‖truth‖`` in float64."""
    value, truth = value.detach().double(), truth.detach().double()
    return float((value - truth).norm() / truth.norm())
