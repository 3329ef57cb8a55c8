"""Convolutions of modules by faster operators, where these give the same."""

import torch
from torch import Tensor, nn

from acda.layers.observed import is_observed
from acda.ops import winograd
from acda.ops.cpu import norm_tanh
from acda.ops.tracing import runs_plainly


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Compute ``conv(x)``, by Winograd's algorithm where that is faster, and nobody observes the module.

    Args:
        conv: Any convolution.
        x: Images ``[N, C, H, W]``.

    Returns:
        ``[N, O, H_out, W_out]``.
    """
    if not is_observed(conv) and _by_winograd(conv, x, conv.weight):
        y: Tensor = winograd.Convolution3x3.apply(x, conv.weight, conv.padding)
        return y if conv.bias is None else y + conv.bias[:, None, None]
    return conv(x)  # type: ignore[no-any-return]


def _by_winograd(conv: nn.Conv2d, x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd's algorithm gives what a convolution does with this weight, and faster."""
    plain = type(conv) is nn.Conv2d and conv.padding_mode == "zeros" and conv.groups == 1
    dense = conv.kernel_size == (3, 3) and conv.stride == conv.dilation == (1, 1)
    return plain and dense and isinstance(conv.padding, tuple) and winograd.can_run(x, weight, conv.padding)


def convolve_tanh(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute ``tanh(conv(x))`` without gradients, by other weights than the module's.

    Args:
        conv: Says how they are applied.
        x: Images ``[N, C, H, W]``.
        weight: ``[O, C / groups, l, l]``.
        bias: ``[O]``, or None.

    Returns:
        ``[N, O, H_out, W_out]``.
    """
    if _by_winograd(conv, x, weight):
        convolved: Tensor = winograd.Convolution3x3.apply(x, weight, conv.padding)
        return norm_tanh.shift_tanh(convolved, bias)
    if conv.padding_mode == "zeros" and _onednn_runs(x, weight):
        geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, "tanh", [], "")
        return y
    plainly: Tensor = conv._conv_forward(x, weight, bias)
    return plainly.tanh_()


def _onednn_runs(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN, which applies tanh while a result is in a core's cache, takes these as PyTorch would."""
    on_cpu = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return (
        on_cpu
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and runs_plainly(x, weight)
        and torch._C._has_mkldnn
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
    )
