"""What the operators cost, as PyTorch's flop counter asks for it."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch

from acda.ops.after_import import after_import

Shape = Sequence[int]


def macs(x: Shape, coefficients: Shape, bases: Shape, weight: Shape) -> int:
    """Multiply-accumulates of one forward pass: atoms from coefficients, atom convolution, coefficient convolution.

    Args:
        x: Shape ``[N, C, H, W]``, as :class:`acda.ops.problem.Problem` has it.
        coefficients: Shape ``[N, m, K, H_out, W_out]``.
        bases: Shape ``[K, l, l]``.
        weight: Shape ``[O, C / groups, m]``.
    """
    images, num_atoms, num_bases, rows, columns = coefficients
    taps = bases[1] * bases[2]
    per_pixel = num_atoms * num_bases * taps + x[1] * num_atoms * taps + weight[0] * weight[1] * weight[2]
    return images * rows * columns * per_pixel


def _forward(x: Shape, coefficients: Shape, bases: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    return 2 * macs(x, coefficients, bases, weight)


def _backward(grad: Shape, x: Shape, coefficients: Shape, bases: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    return 4 * macs(x, coefficients, bases, weight)  # two products for each of forward


def register_flops(name: str) -> None:
    """Have flops of ``acda::<name>`` and ``acda::<name>_backward`` counted, from the counter's import on."""

    def register(counter: ModuleType) -> None:
        counter.register_flop_formula(getattr(torch.ops.acda, name))(_forward)
        counter.register_flop_formula(getattr(torch.ops.acda, f"{name}_backward"))(_backward)

    after_import("torch.utils.flop_counter", register)
