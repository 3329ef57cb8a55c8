"""A norm module followed by tanh, as one operator where that gives the same."""

import torch
from torch import Tensor, nn

from acda.layers.observed import is_observed
from acda.ops.norm_tanh import NormTanh, can_run


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
