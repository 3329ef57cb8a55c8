"""Rival forms of the operator in plain, differentiable PyTorch, problems for them, and the float64 truth.

Forms take x ``[N, C, H, W]``, coefficients ``[N, m, K, H, W]``, bases ``[K, l, l]``, weight ``[O, C, m]``, bias ``[O]``
and padding. Stride 1 with the padding that keeps the size suffices to compare them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from acda import fourier_bessel_bases

Form = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None, int], Tensor]
NUM_ATOMS = 6
NUM_BASES = 6
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
_STRIP_ELEMENTS = 2**24  # of windows at a time
_CHECKED_ELEMENTS = {"cpu": 2**26, "cuda": 2**33}  # of windows in all


def published(
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
    stride: int = 1,
) -> Tensor:
    """Compute as published implementations do: unfold to l² copies of x, compose atoms, contract, 1×1 convolution.

    Backward is autograd's. Only the copies to the host that some of them make are left out. A stride serves the checks
    of whole networks.
    """
    images, channels = x.shape[:2]
    rows, columns = coefficients.shape[3:]
    patches = F.unfold(x, bases.shape[1], padding=padding, stride=stride).view(images, channels, -1, rows, columns)
    atoms = torch.einsum("nbkhw,ku->nbuhw", coefficients, bases.flatten(1))
    z = torch.einsum("nbuhw,ncuhw->ncbhw", atoms, patches).reshape(images, -1, rows, columns)
    return F.conv2d(z, weight.flatten(1)[..., None, None], bias)


def basis_first(
    x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, bias: Tensor | None, padding: int
) -> Tensor:
    """Convolve depthwise with all K fixed bases, channels last, combine per pixel, then apply the 1×1 convolution."""
    channels, num_bases = x.shape[1], bases.shape[0]
    filters = bases.repeat(channels, 1, 1).unsqueeze(1)
    features = F.conv2d(x.contiguous(memory_format=torch.channels_last), filters, padding=padding, groups=channels)
    features = features.permute(0, 2, 3, 1).reshape(x.shape[0], *coefficients.shape[3:], channels, num_bases)
    z = features @ coefficients.permute(0, 3, 4, 2, 1)  # [N, H, W, C, m]
    return F.linear(z.flatten(3), weight.flatten(1), bias).permute(0, 3, 1, 2)


def dense(x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Apply the plain convolution with a weight ``[O, C, l, l]``; coefficients and bases are left aside."""
    return F.conv2d(x, weight, bias, padding=padding)


class Shape(NamedTuple):
    """A problem's size: images, channels in and out, height, width, side of the filter."""

    images: int
    channels: int
    height: int
    width: int
    kernel_size: int

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Read ``NxCxHxWxl``.

        Raises:
            ValueError: If it is not five positive integers, the last of them odd.
        """
        numbers = [int(number) for number in text.split("x")]
        if len(numbers) != len(cls._fields) or min(numbers) < 1 or numbers[-1] % 2 == 0:
            raise ValueError(f"a shape is NxCxHxWxl with l odd, such as 1x256x50x50x7, got {text!r}")
        return cls(*numbers)

    def __str__(self) -> str:
        return "x".join(map(str, self))

    @property
    def pixels(self) -> int:
        """Pixels of all images."""
        return self.images * self.height * self.width

    @property
    def patch_elements(self) -> int:
        """Elements of all windows: l² copies of the input."""
        return self.pixels * self.channels * self.kernel_size**2

    def to_check(self, device: torch.device) -> "Shape":
        """Choose the shape to check at before timing: itself, or fewer or smaller images where the truth is slow."""
        limit = _CHECKED_ELEMENTS[device.type]
        images = max(1, self.images * limit // max(self.patch_elements, limit))
        shrink = min(1.0, math.sqrt(limit / self._replace(images=1).patch_elements))
        height, width = (max(1, math.floor(side * shrink)) for side in (self.height, self.width))
        return self._replace(images=images, height=height, width=width)


@dataclass(frozen=True)
class Problem:
    """Operands of a form and the gradient that comes in; with a weight ``[O, C, l, l]``, of :func:`dense`."""

    x: Tensor
    coefficients: Tensor
    bases: Tensor
    weight: Tensor
    bias: Tensor
    padding: int
    grad: Tensor

    @property
    def leaves(self) -> dict[str, Tensor]:
        """What backward differentiates; the bases are fixed."""
        leaves = {"x": self.x, "coefficients": self.coefficients, "weight": self.weight, "bias": self.bias}
        return {name: leaf for name, leaf in leaves.items() if name != "coefficients" or self.weight.dim() == 3}

    def output(self, form: Form) -> Tensor:
        """Compute the output of a form."""
        return form(self.x, self.coefficients, self.bases, self.weight, self.bias, self.padding)

    def forward(self, form: Form) -> Tensor:
        """Compute the output of a form without what backward needs."""
        with torch.no_grad():
            return self.output(form)

    def step(self, form: Form) -> dict[str, Tensor]:
        """Compute the output of a form as ``y``, and gradients by the names of the leaves."""
        leaves, y = self.leaves, self.output(form)
        return {"y": y, **dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), self.grad), strict=True))}


def random_problem(
    shape: Shape, dtype: torch.dtype, device: torch.device, *, dense: bool = False, channels_last: bool = True
) -> Problem:
    """Draw normal numbers, coefficients in (−1, 1), with Fourier–Bessel bases, for outputs of about unit variance.

    Args:
        shape: Its size.
        dtype: Of all tensors.
        device: Where they lie.
        dense: Whether for :func:`dense`, else for the adaptive forms.
        channels_last: Layout of x, coefficients, a dense weight and the gradient; numbers do not depend on it.
    """
    images, channels, height, width, side = shape
    g = torch.Generator(device).manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def normal(*size: int) -> Tensor:
        tensor = torch.randn(*size, generator=g, dtype=torch.float32, device=device)
        return tensor.to(dtype).contiguous(memory_format=layout if len(size) == 4 else torch.contiguous_format)

    bases = fourier_bessel_bases(side, NUM_BASES, dtype=dtype, device=device)
    x, grad, bias = normal(images, channels, height, width), normal(images, channels, height, width), normal(channels)
    coefficients = normal(images, NUM_ATOMS * len(bases), height, width).tanh_()
    coefficients = coefficients.view(images, NUM_ATOMS, -1, height, width)
    weight = normal(channels, channels, side, side) if dense else normal(channels, channels, NUM_ATOMS)
    weight /= math.sqrt(weight[0].numel())
    for leaf in (x, coefficients, weight, bias):
        leaf.requires_grad_()
    return Problem(x, coefficients, bases, weight, bias, side // 2, grad)


def truth(form: Form, problem: Problem) -> dict[str, Tensor]:
    """Compute what :meth:`Problem.step` should give: the form in float64, some rows of an image at a time."""
    side, padding = problem.bases.shape[1], problem.padding
    x = F.pad(problem.x.detach().double(), [padding] * 4)
    zeros = {name: torch.zeros_like(leaf, dtype=torch.float64) for name, leaf in problem.leaves.items()}
    total = {"y": torch.zeros_like(problem.grad, dtype=torch.float64), **zeros, "x": torch.zeros_like(x)}
    height, width = problem.grad.shape[2:]
    step = max(1, _STRIP_ELEMENTS // (x.shape[1] * width * side**2))
    for n in range(len(x)):
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            window = slice(top, rows.stop + side - 1)
            operands = x[n, None, :, window], problem.coefficients[n, None, ..., rows, :], problem.weight, problem.bias
            part_x, coefficients, weight, bias = (t.detach().double().requires_grad_() for t in operands)
            grad = problem.grad[n, None, :, rows].double()
            part = Problem(part_x, coefficients, problem.bases.double(), weight, bias, 0, grad).step(form)
            total["y"][n, :, rows] = part.pop("y")[0].detach()
            total["x"][n, :, window] += part.pop("x")[0]
            if "coefficients" in part:
                total["coefficients"][n, ..., rows, :] = part.pop("coefficients")[0]
            for name, gradient in part.items():
                total[name] += gradient
    total["x"] = total["x"][..., padding : padding + height, padding : padding + width]
    return total


def worst_error(results: Mapping[str, Tensor], truths: Mapping[str, Tensor]) -> tuple[float, str]:
    """Find the largest ``‖result − truth‖ / ‖truth‖`` of output and gradients, infinite where one is not finite.

    Returns:
        The ratio, and the quantity that has it.
    """
    worst = (-1.0, "")
    for name, true in truths.items():
        ratio = float((results[name].detach().double() - true).norm() / true.norm())
        worst = max(worst, (ratio if math.isfinite(ratio) else math.inf, "y" if name == "y" else f"gradient of {name}"))
    return worst


def verdict(results: Mapping[str, Tensor], truths: Mapping[str, Tensor], dtype: torch.dtype) -> str:
    """Return ``"ok"``, or ``"wrong: …"`` with the largest error ratio, where it is, and the bound of the dtype."""
    error, where = worst_error(results, truths)
    bound = TOLERANCES[dtype]
    return "ok" if error <= bound else f"wrong: {where} is off by {error:.2g}, allowed {bound:g}"
