"""Turns a backend's plain functions into PyTorch operators with gradients, so that compilers see one opaque call."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from acda.ops.geometry import Geometry

operators: list[Any] = []
"""The forward operators that are registered, as they stand in exported programs."""
Shape = Sequence[int]
Operator = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, Geometry, int], Tensor]


class Forward(Protocol):
    """``forward`` of a backend, as :func:`acda.ops.reference.forward` documents it."""

    def __call__(
        self,
        x: Tensor,
        coefficients: Tensor,
        bases: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: Geometry,
        groups: int,
    ) -> Tensor:
        """Compute ``[N, O, H_out, W_out]``, channels last in memory."""
        ...


class Backward(Protocol):
    """``backward`` of a backend, as :func:`acda.ops.reference.backward` documents it."""

    def __call__(
        self,
        grad: Tensor,
        x: Tensor,
        coefficients: Tensor,
        bases: Tensor,
        weight: Tensor,
        geometry: Geometry,
        groups: int,
        needs: list[bool],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the gradients of x, coefficients, bases and weight, an empty tensor for one not needed."""
        ...


def macs(x: Shape, coefficients: Shape, bases: Shape, weight: Shape) -> int:
    """Multiply-accumulates of one forward pass: atoms from coefficients, atom convolution, coefficient convolution.

    Args:
        x: Shape ``[N, C, H, W]``.
        coefficients: Shape ``[N, m, K, H_out, W_out]``.
        bases: Shape ``[K, l, l]``.
        weight: Shape ``[O, C / groups, m]``.
    """
    images, num_atoms, num_bases, rows, columns = coefficients
    taps = bases[1] * bases[2]
    per_pixel = num_atoms * num_bases * taps + x[1] * num_atoms * taps + weight[0] * weight[1] * weight[2]
    return images * rows * columns * per_pixel


def register(name: str, forward: Forward, backward: Backward) -> Operator:
    """Register ``acda::<name>`` and ``acda::<name>_backward``.

    Saved for backward are the four tensors that go in, nothing that is computed between.

    Args:
        name: Name of the backend.
        forward: Computes the output.
        backward: Computes the gradients.

    Returns:
        A function of x, coefficients, bases, weight, bias, geometry and groups that can be differentiated once.
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
        return forward(x, coefficients, bases, weight, bias, geometry, groups)

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
        return backward(grad, x, coefficients, bases, weight, geometry, groups, list(needs))

    forward_op = torch.library.custom_op(f"acda::{name}", call_forward, mutates_args=())
    backward_op = torch.library.custom_op(f"acda::{name}_backward", call_backward, mutates_args=())

    @forward_op.register_fake
    def _(x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, *_: Any) -> Tensor:
        images, (rows, columns) = x.shape[0], coefficients.shape[3:]
        return x.new_empty(images, rows, columns, weight.shape[0]).permute(0, 3, 1, 2)

    @backward_op.register_fake
    def _(
        grad: Tensor, x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, *arguments: Any
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        needs_x, needs_coefficients, needs_bases, needs_weight = arguments[-1]
        return (
            torch.empty_like(x, memory_format=torch.channels_last) if needs_x else x.new_empty(0),
            torch.empty_like(coefficients) if needs_coefficients else x.new_empty(0),
            bases.new_empty(bases.shape) if needs_bases else x.new_empty(0),
            weight.new_empty(weight.shape) if needs_weight else x.new_empty(0),
        )

    def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])
        ctx.geometry = inputs[5:]

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *needs, needs_bias = ctx.needs_input_grad[:5]
        grads = backward_op(grad, *ctx.saved_tensors, *ctx.geometry, needs)
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return *(g if needed else None for g, needed in zip(grads, needs, strict=True)), grad_bias, *[None] * 4

    def refuse(ctx: Any, *grads: Tensor) -> None:
        raise NotImplementedError("adaptive_conv2d can be differentiated once: its gradient has no gradient of its own")

    forward_op.register_autograd(differentiate, setup_context=save)
    backward_op.register_autograd(refuse)
    operators.append(getattr(torch.ops.acda, name).default)

    @register_flop_formula(getattr(torch.ops.acda, name))
    def _(x: Shape, coefficients: Shape, bases: Shape, weight: Shape, *_: Any, **__: Any) -> int:
        return 2 * macs(x, coefficients, bases, weight)

    @register_flop_formula(getattr(torch.ops.acda, f"{name}_backward"))
    def _(grad: Shape, x: Shape, coefficients: Shape, bases: Shape, weight: Shape, *_: Any, **__: Any) -> int:
        return 4 * macs(x, coefficients, bases, weight)  # two products for each of forward

    def operator(
        x: Tensor,
        coefficients: Tensor,
        bases: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: Geometry,
        groups: int,
    ) -> Tensor:
        y: Tensor = forward_op(
            x, coefficients, bases, weight, bias, geometry.stride, geometry.padding, geometry.dilation, groups
        )
        return y

    return operator
