"""Turns a backend's plain functions into PyTorch operators with gradients, so that compilers see one opaque call.

An operator's schema is flat: the fields of :class:`acda.ops.problem.Problem` with those of its geometry in their place.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

from acda.ops.after_import import opaque_to_compilers
from acda.ops.derivatives import BackwardRules, ForwardRules, Operator, Rules
from acda.ops.flops import register_flops
from acda.ops.geometry import Geometry
from acda.ops.problem import Gradients, Needs, Problem

_library = torch.library.Library("acda", "FRAGMENT")

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
        Like ``forward``, but it can be differentiated once.
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

    forward_op = _define(name, call_forward, _fake_forward)
    backward_op = _define(f"{name}_backward", call_backward, _fake_backward)
    _differentiate(forward_op, ForwardRules(forward_op, backward_op))
    _differentiate(backward_op, BackwardRules(forward_op, backward_op))
    operators.append(forward_op)
    register_flops(name)

    def operator(problem: Problem) -> Tensor:
        *tensors, geometry, groups = problem
        y: Tensor = forward_op(*tensors, geometry.stride, geometry.padding, geometry.dilation, groups)
        return y

    return operator


def _define(name: str, kernel: Operator, fake: Operator) -> Any:
    """Define ``acda::<name>``, which has no derivatives yet."""
    _library.define(name + torch.library.infer_schema(kernel, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.impl(f"acda::{name}", "default", opaque_to_compilers(kernel), lib=_library)
    torch.library.register_fake(f"acda::{name}", fake, lib=_library)
    return getattr(torch.ops.acda, name).default


def _differentiate(operator: Any, rules: Rules) -> None:
    """Have PyTorch differentiate and batch an operator by rules.

    :func:`torch.library.register_autograd` takes no rule for tangents, which are then lost, and does not work under
    :mod:`torch.func`. What is done here is what it does, one level of autograd or of a transform at a time.
    """

    def forward(*inputs: Any) -> Any:
        *arguments, grad_enabled = inputs
        with (
            torch._C._AutoDispatchBelowADInplaceOrView(),
            torch.set_grad_enabled(grad_enabled),
            _set_fwd_grad_enabled(True),
        ):
            return operator(*arguments)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        with _set_fwd_grad_enabled(True):
            return rules.jvp(ctx, *tangents)

    methods = {
        "forward": forward,
        "setup_context": rules.setup_context,
        "backward": lambda ctx, *grads: (*rules.backward(ctx, *grads), None),
        "jvp": jvp,
    }
    function = type("AdaptiveConv2d", (_SingleLevelFunction,), {n: staticmethod(m) for n, m in methods.items()})

    def apply(*inputs: Any) -> Any:
        with enable_single_level_autograd_function():
            return function.apply(*inputs, torch.is_grad_enabled())

    _library.impl(operator, apply, "Autograd")
    torch.library.register_vmap(operator, rules.vmap, lib=_library)


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
