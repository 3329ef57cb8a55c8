"""Batch norm followed by tanh, as one operator on the CPU: half as many passes over memory as the two."""

from typing import Any

import torch
from torch import Tensor

from acda.ops.cpu import backend, norm_tanh
from acda.ops.tracing import is_transformed, runs_plainly

# From about here on what the operator gains is more than what its calls cost.
_LEAST_ELEMENTS = 1_200_000

_forward = torch.library.custom_op("acda::norm_tanh", norm_tanh.forward, mutates_args=())
_backward = torch.library.custom_op("acda::norm_tanh_backward", norm_tanh.backward, mutates_args=())


@_forward.register_fake
def _(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    y = torch.empty_like(x, memory_format=torch.channels_last)
    return y, x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


@_backward.register_fake
def _(
    grad: Tensor, x: Tensor, y: Tensor, weight: Tensor | None, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = torch.empty_like(x, memory_format=torch.channels_last)
    return grad_x, x.new_empty(x.shape[1]), x.new_empty(x.shape[1])


def can_run(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Tell whether the operator takes these, and is faster than norm and tanh one after the other.

    It is not for compilers, which make one loop of the two by themselves and know their derivatives, nor for forward
    mode or :mod:`torch.func`'s transforms.
    """
    if x.dim() != 4 or x.numel() < _LEAST_ELEMENTS or x.numel() <= x.shape[1]:
        return False
    of_channels = [t for t in (weight, bias) if t is not None]
    return (
        runs_plainly(x, *of_channels)
        and all(t.dtype == torch.float32 and t.device == x.device for t in (x, *of_channels))
        and all(t.shape == x.shape[1:2] for t in of_channels)
        and x.is_contiguous(memory_format=torch.channels_last)
        and backend.cannot_run(x) is None
    )


class NormTanh(torch.autograd.Function):
    """``tanh(batch_norm(x))`` by a batch's own statistics.

    Of x, float32 ``[N, C, H, W]``, weight and bias, ``[C]`` or None, and eps. Gives the output, in the shape of x, and
    mean and biased variance of each channel, ``[C]``, which are not differentiable.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the output and the statistics."""
        y, mean, var = _forward(x, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, y, mean, var)
        ctx.mark_non_differentiable(mean, var)
        ctx.set_materialize_grads(False)
        ctx.eps = eps
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        """Compute the gradients; those that are to be differentiated again, or are several at once, by the formula."""
        if grad is None:
            return (None,) * 4
        x, weight, bias, y, mean, var = ctx.saved_tensors
        if torch.is_grad_enabled() or is_transformed():
            grads = _gradients(grad, x, weight, bias, ctx.eps)
        else:
            grads = _backward(grad, x, y, weight, mean, var, ctx.eps)
        return *(g if needed else None for g, needed in zip(grads, ctx.needs_input_grad, strict=False)), None


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of x, weight and bias by what can itself be differentiated, and mapped over."""
    mean = x.mean((0, 2, 3), keepdim=True)
    rstd = (x.var((0, 2, 3), correction=0, keepdim=True) + eps).rsqrt()
    normed = (x - mean) * rstd
    scale = x.new_ones(x.shape[1]) if weight is None else weight
    shift = x.new_zeros(x.shape[1]) if bias is None else bias
    y = torch.tanh(normed * scale[:, None, None] + shift[:, None, None])
    t = grad * (1 - y * y)
    products = (t * normed).mean((0, 2, 3), keepdim=True)
    grad_x = (t - t.mean((0, 2, 3), keepdim=True) - normed * products) * rstd * scale[:, None, None]
    return grad_x, (t * normed).sum((0, 2, 3)), t.sum((0, 2, 3))
