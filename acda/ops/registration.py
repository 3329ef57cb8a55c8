"""Turns a backend's plain functions into PyTorch operators with gradients, so that compilers see one opaque call.

An operator's schema is flat: the fields of :class:`acda.ops.problem.Problem` with those of its geometry in their place.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from acda.ops.derivatives import Call, Convolution
from acda.ops.flops import register_flops
from acda.ops.geometry import Geometry
from acda.ops.problem import Gradients, Needs, Problem
from acda.ops.tracing import is_captured, is_in_forward_mode

operators: list[Any] = []
"""The forward operators that are registered, as they stand in exported programs."""

Forward = Callable[[Problem], Tensor]
"""Computes the output ``[N, O, H_out, W_out]``, channels last in memory."""

Backward = Callable[[Tensor, Problem, Needs], Gradients]
"""Computes the gradients from that of the output, of any layout."""


def register(name: str, forward: Forward, backward: Backward) -> Forward:
    """Register ``acda::<name>`` and ``acda::<name>_backward``.

    Saved for backward are the four tensors that go in, nothing that is computed between.

    Args:
        name: Name of the backend.
        forward: Computes the output.
        backward: Computes the gradients.

    Returns:
        Like ``forward``, with all derivatives; compiled it can be differentiated once, in reverse mode.
    """

    def call_forward(
        x: Tensor,
        coefficients: Tensor,
        bases: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
    ) -> Tensor:
        geometry = Geometry.of(bases.shape[-1], stride, padding, dilation)
        return forward(Problem(x, coefficients, bases, weight, bias, geometry, groups))

    def call_backward(
        grad: Tensor,
        x: Tensor,
        coefficients: Tensor,
        bases: Tensor,
        weight: Tensor,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        needs: Sequence[bool],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        geometry = Geometry.of(bases.shape[-1], stride, padding, dilation)
        return backward(grad, Problem(x, coefficients, bases, weight, None, geometry, groups), Needs(*needs))

    forward_op = torch.library.custom_op(f"acda::{name}", call_forward, mutates_args=())
    backward_op = torch.library.custom_op(f"acda::{name}_backward", call_backward, mutates_args=())

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *needs, needs_bias = ctx.needs_input_grad[:5]
        grads = backward_op(grad, *ctx.saved_tensors, *ctx.geometry, needs)
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return *(g if needed else None for g, needed in zip(grads, needs, strict=True)), grad_bias, *[None] * 4

    forward_op.register_fake(_fake_forward)
    backward_op.register_fake(_fake_backward)
    forward_op.register_autograd(differentiate, setup_context=_save)
    backward_op.register_autograd(_refuse)
    operators.append(getattr(torch.ops.acda, name).default)
    register_flops(name)

    def operator(problem: Problem) -> Tensor:
        *tensors, geometry, groups = problem
        call = Call(forward_op, backward_op, geometry, groups)
        # Compilers are to see the operator itself. It would drop tangents: in forward mode what is compiled has a break
        # in its graph, and this is run as it is.
        if is_captured() and not is_in_forward_mode():
            y: Tensor = forward_op(*tensors, *call.arguments)
            return y
        return Convolution.apply(call, *tensors)  # type: ignore[no-any-return]

    return operator


def _fake_forward(x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, *_: Any) -> Tensor:
    images, (rows, columns) = x.shape[0], coefficients.shape[3:]
    return x.new_empty(images, rows, columns, weight.shape[0]).permute(0, 3, 1, 2)


def _fake_backward(
    grad: Tensor, x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, *arguments: Any
) -> Gradients:
    needs = Needs(*arguments[-1])
    return (
        torch.empty_like(x, memory_format=torch.channels_last) if needs.x else x.new_empty(0),
        torch.empty_like(coefficients) if needs.coefficients else x.new_empty(0),
        bases.new_empty(bases.shape) if needs.bases else x.new_empty(0),
        weight.new_empty(weight.shape) if needs.weight else x.new_empty(0),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.geometry = inputs[5:]


def _refuse(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError("adaptive_conv2d can be differentiated once where it is compiled")
