"""The adaptive convolution in plain PyTorch with the bases first: each channel is convolved with each basis.

``[C, K] × [K, m]`` at each pixel and a 1×1 convolution follow. No window is copied, but K results are kept for each
channel, so that this is the better form in plain PyTorch where the kernel is large and the bases are few. It works
through a few images at a time, and backward computes again what lies between.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops.problem import Gradients, Needs, Problem

# What exists between input and output at a time has about this many elements: 256 MB in float32, or one image's.
_ELEMENTS = 2**26
_OPERATIONS_PER_BYTE = 20  # multiplications and additions that GPUs without our kernels make while they move a byte


def cannot_run(x: Tensor) -> str | None:
    """Why this form cannot take this input: it takes every one."""
    return None


def slower(problem: Problem) -> str | None:
    """Why the form of :mod:`acda.ops.reference` is taken to be the faster one, or None if this is.

    Estimated, for a GPU, from the bytes and operations of a forward pass in which the two differ. On the CPU the
    reference's blocks stay in the cache.
    """
    if problem.x.device.type == "cpu":
        return "it is for GPUs, x is on cpu"
    here, there = estimate(problem)
    return None if here < there else f"by estimate it moves and computes {here / there:.2g} of what the reference does"


def estimate(problem: Problem) -> tuple[float, float]:
    """Estimate the time of this form and of the reference, in bytes moved for each output pixel.

    Args:
        problem: The operands.

    Returns:
        That of both, operations counted as the bytes that could be moved meanwhile.
    """
    channels, size = problem.x.shape[1], problem.x.element_size()
    num_atoms, num_bases = problem.coefficients.shape[1:3]
    taps = problem.geometry.kernel_size**2

    def cost(elements: int, products: int) -> float:
        return elements * size + 2 * products / _OPERATIONS_PER_BYTE

    z = 2 * num_atoms * channels  # written and read
    here = cost(  # what the bases give is written, laid out anew and read, and so is z
        4 * num_bases * channels + 2 * z, num_bases * taps * channels + num_atoms * num_bases * channels
    )
    there = cost(
        2 * taps * channels + 2 * num_atoms * taps + z, num_atoms * num_bases * taps + num_atoms * taps * channels
    )
    return here, there


def _images(problem: Problem) -> Iterator[slice]:
    """Cut the images into a few at a time."""
    images, num_atoms, num_bases, rows, columns = problem.coefficients.shape
    step = max(1, _ELEMENTS // max(1, (num_bases + num_atoms) * problem.x.shape[1] * rows * columns))
    return (slice(n, n + step) for n in range(0, images, step))


def _filter(problem: Problem, images: slice) -> Tensor:
    """Convolve each channel with each basis: ``[n, H_out, W_out, C, K]``."""
    x, geometry = problem.x[images], problem.geometry
    flat, bases = x.flatten(0, 1).unsqueeze(1), problem.bases.unsqueeze(1)
    filtered = F.conv2d(flat, bases, None, geometry.stride, geometry.padding, geometry.dilation)
    return torch.unflatten(filtered, 0, x.shape[:2]).permute(0, 3, 4, 1, 2)


def _matrix(problem: Problem) -> Tensor:
    """Lay out the weight as ``[G, m · C / G, O / G]``, atoms slowest."""
    weight, groups = problem.weight, problem.groups
    return torch.unflatten(weight, 0, (groups, -1)).permute(0, 3, 2, 1).flatten(1, 2)


def forward(problem: Problem) -> Tensor:
    """Compute the output, ``[N, O, H_out, W_out]``, channels last in memory."""
    groups, matrix = problem.groups, _matrix(problem)
    alpha = problem.coefficients.permute(0, 3, 4, 1, 2)
    out = problem.x.new_empty(problem.output_shape)
    for images in _images(problem):
        z = alpha[images] @ _filter(problem, images).mT  # [n, H_out, W_out, m, C]
        y = torch.bmm(_by_group(z, groups), matrix)
        out[images] = y.movedim(0, 1).reshape(out[images].shape)
    return (out if problem.bias is None else out.add_(problem.bias)).permute(0, 3, 1, 2)


def backward(grad: Tensor, problem: Problem, needs: Needs) -> Gradients:
    """Compute the gradients of :func:`forward` from that of its output, ``[N, O, H_out, W_out]``."""
    x, coefficients, bases, weight, _, geometry, groups = problem
    alpha, matrix = coefficients.permute(0, 3, 4, 1, 2), _matrix(problem)
    summing = torch.promote_types(x.dtype, torch.float32)
    grad_x = torch.zeros_like(x if needs.x else x[:0], memory_format=torch.channels_last)
    grad_coefficients = torch.empty_like(coefficients if needs.coefficients else coefficients[:0])
    grad_bases = bases.new_zeros(bases.shape, dtype=summing)
    grad_matrix = matrix.new_zeros(matrix.shape, dtype=summing)
    for images in _images(problem):
        grad_y = grad[images].permute(0, 2, 3, 1).reshape(-1, groups, weight.shape[0] // groups).movedim(1, 0)
        by_group = torch.unflatten(torch.bmm(grad_y, matrix.mT), 2, (weight.shape[2], -1))  # [G, pixels, m, C / G]
        grad_z = by_group.permute(1, 2, 0, 3).reshape(*alpha[images].shape[:4], x.shape[1])
        filtered = _filter(problem, images) if needs.coefficients or needs.weight else x[:0]
        if needs.weight:
            grad_matrix += torch.bmm(_by_group(alpha[images] @ filtered.mT, groups).mT, grad_y)
        if needs.coefficients:
            grad_coefficients.permute(0, 3, 4, 1, 2)[images] = grad_z @ filtered
        if needs.x or needs.bases:
            grad_filtered = (grad_z.mT @ alpha[images]).permute(0, 3, 4, 1, 2).flatten(0, 1)
            with _repeating():
                of_x, of_bases, _ = torch.ops.aten.convolution_backward(
                    grad_filtered,
                    x[images].flatten(0, 1).unsqueeze(1),
                    bases.unsqueeze(1),
                    None,
                    geometry.stride,
                    geometry.padding,
                    geometry.dilation,
                    False,
                    (0, 0),
                    1,
                    (needs.x, needs.bases, False),
                )
            if needs.x:
                grad_x[images] = of_x.view(x[images].shape)
            if needs.bases:
                grad_bases += of_bases.view(bases.shape)
    grad_weight = torch.unflatten(grad_matrix, 1, (weight.shape[2], -1)).permute(0, 3, 2, 1).reshape(weight.shape)
    return (
        grad_x if needs.x else x.new_empty(0),
        grad_coefficients if needs.coefficients else x.new_empty(0),
        grad_bases.to(bases.dtype) if needs.bases else x.new_empty(0),
        grad_weight.to(weight.dtype).contiguous() if needs.weight else x.new_empty(0),
    )


def _by_group(z: Tensor, groups: int) -> Tensor:
    """``[n, H_out, W_out, m, C]`` as ``[G, pixels, m · C / G]``."""
    num_atoms, channels = z.shape[3:]
    return z.reshape(-1, num_atoms, groups, channels // groups).permute(2, 0, 1, 3).flatten(2)


@contextmanager
def _repeating() -> Iterator[None]:
    """Have cuDNN take algorithms whose results repeat bit for bit."""
    was, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = was
