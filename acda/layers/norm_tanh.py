"""Convolution, norm and tanh: of modules, as fewer or faster operators where these give the same."""

import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from acda.ops import winograd
from acda.ops.cpu import norm_tanh as cpu_norm_tanh
from acda.ops.norm_tanh import NormTanh, can_run
from acda.ops.tracing import runs_plainly

_HOOKS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def is_observed(module: nn.Module) -> bool:
    """Tell whether calling a module does more than its class says: hooks on it, or on all modules."""
    own = any(getattr(module, f"_{name}") for name in _HOOKS)
    return own or any(getattr(every_module, f"_global_{name}") for name in _HOOKS) or "forward" in vars(module)


def norm_tanh(norm: nn.Module, x: Tensor) -> Tensor:
    """Compute ``tanh(norm(x))``.

    Args:
        norm: Any module. Of a ``BatchNorm2d`` which takes a batch's own statistics, and which nobody observes, it is
            one operator where that runs; running statistics and the counter of batches move as in the module.
        x: Images ``[N, C, H, W]``.

    Returns:
        Of the shape of ``x``.
    """
    if type(norm) is not nn.BatchNorm2d or is_observed(norm) or not can_run(x, norm.weight, norm.bias):
        return torch.tanh(norm(x))
    if not norm.training and (norm.running_mean is not None or norm.running_var is not None):
        return torch.tanh(norm(x))
    y, mean, var = NormTanh.apply(x, norm.weight, norm.bias, norm.eps)
    if norm.training and norm.track_running_stats:
        pixels = x.numel() // x.shape[1]
        _track(norm, mean, var * (pixels / (pixels - 1)))
    return y  # type: ignore[no-any-return]


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
        return cpu_norm_tanh.shift_tanh(convolved, bias)
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


def _track(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor) -> None:
    """Move the running statistics towards those of a batch, the variance being without bias."""
    momentum = 0.0 if norm.momentum is None else norm.momentum
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1 / float(norm.num_batches_tracked)
    for running, new in ((norm.running_mean, mean), (norm.running_var, var)):
        if running is not None:
            running.mul_(1 - momentum).add_(new, alpha=momentum)
