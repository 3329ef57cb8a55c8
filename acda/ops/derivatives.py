"""Derivatives of any order of the adaptive convolution, forward and reverse, and what it is on batches of its operands.

The output is linear in each of x, α, ψ and A, and each gradient is linear in the output's gradient and in each of the
three other operands. So every derivative is a sum of the same two operators with one operand replaced: by its tangent,
or by the gradient of its gradient.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from acda.ops.problem import Gradients

Operator = Callable[..., Any]


class Rules(Protocol):
    """How an operator is differentiated, by :class:`torch.autograd.Function`'s methods, and batched."""

    def setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the derivatives need."""
        ...

    def backward(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all inputs from those of the outputs."""
        ...

    def jvp(self, ctx: Any, *tangents: Tensor | None) -> Any:
        """Compute the tangents of the outputs from those of the inputs."""
        ...

    def vmap(self, info: Any, in_dims: Sequence[int | None], *inputs: Any) -> tuple[Any, Any]:
        """Compute the outputs for a batch of some of the inputs, and say along which dimensions they are batched."""
        ...


class ForwardRules(NamedTuple):
    """Those of the forward operator: of x, coefficients, bases, weight, bias and what :class:`Geometry` is made of."""

    forward: Operator
    gradients: Operator

    def setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the four tensors that are multiplied."""
        _save(ctx, inputs[:4], inputs[5:9])

    def backward(self, ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the backward operator; the bias has a sum."""
        *needs, needs_bias = ctx.needs_input_grad[:5]
        if grad is None:
            return (None,) * 9
        grads = self.gradients(grad, *ctx.saved_tensors, *ctx.rest, needs)
        grad_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return *(g if needed else None for g, needed in zip(grads, needs, strict=True)), grad_bias, *[None] * 4

    def jvp(self, ctx: Any, *tangents: Tensor | None) -> Tensor | None:
        """Run the forward operator for each tangent."""
        *given, bias = tangents[:5]
        primals = _primals(ctx)
        total = None
        for i, tangent in enumerate(given):
            if tangent is not None:
                total = _sum(total, self.forward(*_replaced(primals, i, tangent), None, *ctx.rest))
        if bias is None:
            return total
        images, (rows, columns) = primals[0].shape[0], primals[1].shape[3:]
        return _sum(total, bias.view(1, -1, 1, 1).expand(images, -1, rows, columns))

    def vmap(self, info: Any, in_dims: Sequence[int | None], *inputs: Any) -> tuple[Tensor, int]:
        """Make one batch of images of all, or, if the parameters differ, run once for each."""
        if in_dims[2:5] == (None,) * 3:
            size, images = info.batch_size, _shape(inputs[0], in_dims[0])[0]
            x, coefficients = (_fold(inputs[i], in_dims[i], size) for i in range(2))
            return self.forward(x, coefficients, *inputs[2:]).unflatten(0, (size, images)), 0
        return torch.stack([self.forward(*one) for one in _each(info, in_dims, inputs)]), 0


class BackwardRules(NamedTuple):
    """Those of the backward operator: of the output's gradient, the four operands, the geometry, and what is needed."""

    forward: Operator
    gradients: Operator

    def setup_context(self, ctx: Any, inputs: tuple[Any, ...], output: Gradients) -> None:
        """Keep the five tensors that are multiplied."""
        _save(ctx, inputs[:5], inputs[5:9])
        ctx.needs = inputs[9]

    def backward(self, ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run both operators for the gradient of each gradient."""
        grad, *operands = ctx.saved_tensors
        wants_grad, *wants = ctx.needs_input_grad[:5]
        totals: list[Tensor | None] = [None] * 5
        for i, given in enumerate(grads):
            if given is None or not ctx.needs[i]:
                continue
            replaced = _replaced(operands, i, given)
            if wants_grad:
                totals[0] = _sum(totals[0], self.forward(*replaced, None, *ctx.rest))
            self._add(totals, 1, grad, replaced, ctx.rest, [want and j != i for j, want in enumerate(wants)])
        return *totals, *[None] * 5

    def jvp(self, ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """Run the backward operator for each tangent."""
        primals = _primals(ctx)
        totals: list[Tensor | None] = [None] * 4
        for i, tangent in enumerate(tangents[:5]):
            if tangent is not None:
                grad, *operands = _replaced(primals, i, tangent)
                needs = [needed and j != i - 1 for j, needed in enumerate(ctx.needs)]
                self._add(totals, 0, grad, operands, ctx.rest, needs)
        return tuple(
            (torch.zeros_like(t) if needed else t.new_zeros(0)) if total is None else total
            for t, needed, total in zip(primals[1:], ctx.needs, totals, strict=True)
        )

    def vmap(
        self, info: Any, in_dims: Sequence[int | None], *inputs: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """Make one batch of images of all, or, if parameters or their gradients differ, run once for each."""
        needs = inputs[9]
        if in_dims[3:5] == (None,) * 2 and not any(needs[2:]):
            size, images = info.batch_size, _shape(inputs[1], in_dims[1])[0]
            folded = (_fold(inputs[i], in_dims[i], size) for i in range(3))
            grads = self.gradients(*folded, *inputs[3:])
            dims = tuple(0 if needed else None for needed in needs)
            return tuple(g.unflatten(0, (size, images)) if n else g for g, n in zip(grads, needs, strict=True)), dims
        each = [self.gradients(*one) for one in _each(info, in_dims, inputs)]
        return tuple(torch.stack(grads) for grads in zip(*each, strict=True)), (0,) * 4

    def _add(
        self,
        totals: list[Tensor | None],
        first: int,
        grad: Tensor,
        operands: Sequence[Tensor],
        rest: Sequence[Any],
        needs: list[bool],
    ) -> None:
        """Add the gradients that are needed to the totals, of which they begin at ``first``."""
        if any(needs):
            for i, term in enumerate(self.gradients(grad, *operands, *rest, needs)):
                if needs[i]:
                    totals[first + i] = _sum(totals[first + i], term)


def _save(ctx: Any, tensors: tuple[Tensor, ...], rest: tuple[Any, ...]) -> None:
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
    ctx.set_materialize_grads(False)
    ctx.rest = rest


def _primals(ctx: Any) -> list[Tensor]:
    """What was saved, without the tangents that it has on this level; those on others are needed there."""
    return [unpack_dual(tensor, level=0).primal for tensor in ctx.saved_tensors]


def _replaced(tensors: Sequence[Tensor], index: int, by: Tensor) -> list[Tensor]:
    return [*tensors[:index], by, *tensors[index + 1 :]]


def _sum(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else total + term


def _shape(tensor: Tensor, dim: int | None) -> torch.Size:
    """Shape of one of a batch."""
    return tensor.shape if dim is None else tensor.movedim(dim, 0).shape[1:]


def _fold(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """``[N, …]``, batched along ``dim`` or the same for all, as ``[size · N, …]``."""
    return (tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)).flatten(0, 1)


def _each(info: Any, in_dims: Sequence[int | None], inputs: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the inputs of each of a batch, of which the first five are tensors."""
    for i in range(info.batch_size):
        tensors = zip(inputs[:5], in_dims[:5], strict=True)
        yield [*(t if dim is None else t.select(dim, i) for t, dim in tensors), *inputs[5:]]
