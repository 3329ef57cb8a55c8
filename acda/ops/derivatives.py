"""All derivatives of the operator, of any order and in both modes, from its forward and its backward alone.

The convolution is linear in each of its four operands, and so is its gradient, which is linear in that of the output,
too. So every derivative is a sum of calls with one operand replaced by its tangent, and the derivatives of those calls
are found in the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acda.ops.geometry import Geometry
from acda.ops.problem import Needs

Tensors = Sequence[Tensor | None]


@dataclass(frozen=True)  # not a named tuple, whose fields functorch would take for arguments
class Call:
    """What calls of the operator with other tensors have in common.

    Attributes:
        forward: From x, coefficients, bases, weight, bias and the four fields below to the output.
        backward: From the output's gradient, the same without bias, and which gradients are needed, to these.
        geometry: Where the windows lie.
        groups: Groups of channels.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, ...]]
    geometry: Geometry
    groups: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The last arguments of the operators."""
        return self.geometry.stride, self.geometry.padding, self.geometry.dilation, self.groups


class Convolution(torch.autograd.Function):
    """The operator, of a call and x, coefficients, bases, weight and bias; saves the first four."""

    @staticmethod
    def forward(call: Call, *tensors: Tensor | None) -> Tensor:
        """Compute the output."""
        return call.forward(*tensors, *call.arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Save the operands."""
        ctx.call, *operands, _ = inputs
        ctx.output_shape = output.shape
        _save(ctx, operands)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients that are needed."""
        _, *needs, needs_bias = ctx.needs_input_grad
        if grad is None:
            return (None,) * 6
        grads = _gradients(ctx.call, Needs(*needs), grad, ctx.saved_tensors)
        return None, *grads, grad.sum((0, 2, 3)) if needs_bias else None

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Tensor:
        """Compute the output's tangent from those of the operands and the bias."""
        *of_operands, of_bias = tangents
        tangent = _tangent(ctx.call, ctx.saved_tensors, of_operands)
        if of_bias is None:
            assert tangent is not None
            return tangent
        # In memory as the output, which torch takes for granted where this is a batch of tangents.
        images, channels, rows, columns = ctx.output_shape
        same_everywhere = of_bias.expand(images, rows, columns, channels).contiguous().permute(0, 3, 1, 2)
        return same_everywhere if tangent is None else same_everywhere + tangent

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], call: Call, *tensors: Tensor | None) -> tuple[Tensor, int]:
        """Compute a batch of outputs: at once where all share bases and weight, else one after another."""
        *operands, bias = tensors
        *dims, bias_dim = in_dims[1:]
        if bias_dim is not None:
            assert bias is not None
            y, _ = Convolution.vmap(info, (None, *dims, None), call, *operands, None)
            return y + bias.movedim(bias_dim, 0)[:, None, :, None, None], 0
        if any(dim is not None for dim in dims[2:]):
            each = _unbind(operands, dims, info.batch_size)
            return torch.stack([Convolution.apply(call, *one, bias) for one in each]), 0
        images, folded = _fold(operands[:2], dims[:2], info.batch_size)
        y = Convolution.apply(call, *folded, *operands[2:], bias)
        return y.unflatten(0, (info.batch_size, images)), 0


class Gradient(torch.autograd.Function):
    """The operator's gradients, of a call, which of them are needed, that of the output, and the four operands."""

    @staticmethod
    def forward(call: Call, needs: "Needed", *tensors: Tensor) -> tuple[Tensor, ...]:
        """Compute the gradients; those that are not needed are empty."""
        return call.backward(*tensors, *call.arguments, needs.each)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Save the output's gradient and the operands."""
        ctx.call, ctx.needs, *tensors = inputs
        _save(ctx, tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the gradients' own gradients.

        What is differentiated is the product of the output's gradient with the tangent that the output has where these
        cotangents are the operands' tangents.
        """
        grad, *operands = ctx.saved_tensors
        _, _, needs_grad, *needs = ctx.needs_input_grad
        tangents = [c if needed else None for c, needed in zip(cotangents, ctx.needs.each, strict=True)]
        of_grad = _tangent(ctx.call, operands, tangents) if needs_grad else None
        return None, None, of_grad, *_tangents_of_gradients(ctx.call, Needs(*needs), grad, operands, tangents)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """Compute the gradients' tangents."""
        grad, *operands = ctx.saved_tensors
        of_grad, *of_operands = tangents
        needs = ctx.needs.each
        sums = _tangents_of_gradients(ctx.call, needs, grad, operands, of_operands)
        if of_grad is not None:
            sums = _add(sums, _gradients(ctx.call, needs, of_grad, operands))
        empty = grad.new_empty(0)
        return tuple(
            (torch.zeros_like(operand) if tangent is None else tangent) if needed else empty
            for tangent, operand, needed in zip(sums, operands, needs, strict=True)
        )

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], call: Call, needs: "Needed", *tensors: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        """Compute a batch of gradients: at once where bases and weight are shared and their gradients not needed."""
        dims, each_needed = in_dims[2:], needs.each
        if each_needed.bases or each_needed.weight or any(dim is not None for dim in dims[3:]):
            each = [Gradient.apply(call, needs, *one) for one in _unbind(tensors, dims, info.batch_size)]
            return tuple(torch.stack(grads) for grads in zip(*each, strict=True)), (0,) * len(Needs._fields)
        images, folded = _fold(tensors[:3], dims[:3], info.batch_size)
        grads = Gradient.apply(call, needs, *folded, *tensors[3:])
        unfolded = (
            grad.unflatten(0, (info.batch_size, images)) if needed else grad
            for grad, needed in zip(grads, each_needed, strict=True)
        )
        return tuple(unfolded), tuple(0 if needed else None for needed in each_needed)


@dataclass(frozen=True)
class Needed:
    """Which gradients are needed, as one argument for functorch.

    Attributes:
        each: For each operand whether its is.
    """

    each: Needs


def _save(ctx: Any, tensors: Tensors) -> None:
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)
    ctx.set_materialize_grads(False)


def _gradients(call: Call, needs: Needs, grad: Tensor, operands: Tensors) -> list[Tensor | None]:
    """Compute the gradients that are needed, None for the others."""
    if not any(needs):
        return [None] * len(needs)
    grads = Gradient.apply(call, Needed(needs), grad, *operands)
    return [g if needed else None for g, needed in zip(grads, needs, strict=True)]


def _with_tangents(operands: Tensors, tangents: Tensors) -> Iterator[tuple[int, list[Tensor | None]]]:
    """Yield each operand's position that has a tangent, and the operands with it in their place."""
    for position, tangent in enumerate(tangents):
        if tangent is not None:
            yield position, [*operands[:position], tangent, *operands[position + 1 :]]


def _tangent(call: Call, operands: Tensors, tangents: Tensors) -> Tensor | None:
    """Compute the output's tangent, None where no operand has one."""
    parts = [Convolution.apply(call, *replaced, None) for _, replaced in _with_tangents(operands, tangents)]
    return sum(parts[1:], start=parts[0]) if parts else None


def _tangents_of_gradients(
    call: Call, needs: Needs, grad: Tensor, operands: Tensors, tangents: Tensors
) -> list[Tensor | None]:
    """Compute the tangents of the gradients that are needed, None where they are 0 or not needed."""
    sums: list[Tensor | None] = [None] * len(needs)
    for position, replaced in _with_tangents(operands, tangents):
        others = Needs(*(needed and other != position for other, needed in enumerate(needs)))
        sums = _add(sums, _gradients(call, others, grad, replaced))
    return sums


def _add(left: Tensors, right: Tensors) -> list[Tensor | None]:
    return [b if a is None else a if b is None else a + b for a, b in zip(left, right, strict=True)]


def _fold(tensors: Tensors, dims: Sequence[int | None], batch: int) -> tuple[int, list[Tensor]]:
    """Make one dimension of images of that which is mapped over and theirs; also tell how many images they were."""
    folded = []
    for tensor, dim in zip(tensors, dims, strict=True):
        assert tensor is not None
        mapped = tensor.expand(batch, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        images = mapped.shape[1]
        folded.append(mapped.flatten(0, 1))
    return images, folded


def _unbind(tensors: Tensors, dims: Sequence[int | None], batch: int) -> Iterator[list[Tensor | None]]:
    """Yield the tensors at each place of the dimension that is mapped over."""
    for place in range(batch):
        yield [
            tensor if tensor is None or dim is None else tensor.select(dim, place)
            for tensor, dim in zip(tensors, dims, strict=True)
        ]
