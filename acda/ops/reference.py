"""The adaptive convolution in plain PyTorch: any device, any floating dtype, the form others are checked against.

Each output pixel p has a window of the input, ``patches[p]`` ``[l², C]``, and ``atoms[p] = coefficients[p] ψ``
``[m, l²]``. The atom convolution is one small matrix product a pixel, ``z[p] = atoms[p] patches[p]`` ``[m, C]``, and
the coefficient convolution one product for all of them. Windows, atoms and z exist for a block of pixels at a time, so
that beyond a padded copy of the input the extra memory does not grow with the image, and backward recomputes them.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops.blocks import Block, blocks
from acda.ops.geometry import Geometry
from acda.ops.problem import Gradients, Needs, Problem

# A block's windows hold about this many elements: 8 MB in float32, near to the cache of a core.
_BLOCK_ELEMENTS = 2**21
_GPU_BLOCK = 32  # times as many on a GPU, which small blocks leave idle


def cannot_run(x: Tensor) -> str | None:
    """Why the reference cannot take this input: it takes every one."""
    return None


def _window(block: Block, geometry: Geometry) -> Block:
    """Find the part of the padded input under a block of output pixels."""
    spans = zip((block.rows, block.columns), geometry.stride, geometry.span, strict=True)
    rows, columns = (slice(s.start * stride, (s.stop - 1) * stride + span) for s, stride, span in spans)
    return Block(block.images, rows, columns)


def _blocks(coefficients: Tensor, elements_per_pixel: int) -> Iterator[Block]:
    images, (rows, columns) = coefficients.shape[0], coefficients.shape[3:]
    elements = _BLOCK_ELEMENTS if coefficients.device.type == "cpu" else _GPU_BLOCK * _BLOCK_ELEMENTS
    return blocks(images, rows, columns, elements // max(1, elements_per_pixel))


def _pad(x: Tensor, geometry: Geometry) -> Tensor:
    """Zero-pad ``[N, C, H, W]`` to a contiguous ``[N, H', W', C]``."""
    vertical, horizontal = geometry.padding
    return F.pad(x.permute(0, 2, 3, 1), (0, 0, horizontal, horizontal, vertical, vertical)).contiguous()


def _patches(window: Tensor, geometry: Geometry) -> Tensor:
    """Windows of a block of the padded input ``[n, h', w', C]`` as ``[pixels, l², C]``."""
    side = geometry.kernel_size
    (span_v, span_h), (stride_v, stride_h), (dilation_v, dilation_h) = geometry.span, geometry.stride, geometry.dilation
    views = window.unfold(1, span_v, stride_v).unfold(2, span_h, stride_h)[..., ::dilation_v, ::dilation_h]
    return views.permute(0, 1, 2, 4, 5, 3).reshape(-1, side * side, window.shape[-1])


def _scatter_patches(patches: Tensor, window: Tensor, geometry: Geometry, rows: int, columns: int) -> None:
    """Add ``[pixels, l², C]`` back to where :func:`_patches` read them, tap by tap, in a fixed order."""
    side = geometry.kernel_size
    (stride_v, stride_h), (dilation_v, dilation_h) = geometry.stride, geometry.dilation
    per_tap = patches.view(-1, rows, columns, side * side, patches.shape[-1])
    for tap in range(side * side):
        top, left = tap // side * dilation_v, tap % side * dilation_h
        bottom, right = top + (rows - 1) * stride_v + 1, left + (columns - 1) * stride_h + 1
        window[:, top:bottom:stride_v, left:right:stride_h] += per_tap[:, :, :, tap]


def _per_pixel(coefficients: Tensor, block: Block) -> Tensor:
    """Coefficients ``[N, m, K, H, W]`` of a block of output pixels as a contiguous ``[pixels, m, K]``."""
    part = block.of(coefficients.permute(0, 3, 4, 1, 2))
    return part.reshape(-1, *coefficients.shape[1:3]).contiguous()


def forward(problem: Problem) -> Tensor:
    """Compute the output, ``[N, O, H_out, W_out]``, channels last in memory."""
    x, coefficients, bases, weight, bias, geometry, groups = problem
    padded, flat_bases = _pad(x, geometry), bases.flatten(1)
    out_channels, in_per_group, num_atoms = weight.shape
    grouped = weight.view(groups, -1, in_per_group, num_atoms)
    out = x.new_empty(problem.output_shape)
    for block in _blocks(coefficients, flat_bases.shape[1] * x.shape[1]):
        atoms = _per_pixel(coefficients, block) @ flat_bases
        z = torch.einsum("pmu,puc->pmc", atoms, _patches(_window(block, geometry).of(padded), geometry))
        y = torch.einsum("pmgc,gocm->pgo", z.view(-1, num_atoms, groups, in_per_group), grouped)
        block.of(out).copy_(y.reshape(*block.shape, out_channels))
    return (out if bias is None else out.add_(bias)).permute(0, 3, 1, 2)


def backward(grad: Tensor, problem: Problem, needs: Needs) -> Gradients:
    """Compute the gradients of :func:`forward` from that of its output, ``[N, O, H_out, W_out]``."""
    x, coefficients, bases, weight, _, geometry, groups = problem
    padded, flat_bases = _pad(x, geometry), bases.flatten(1)
    out_channels, in_per_group, num_atoms = weight.shape
    grouped = weight.view(groups, -1, in_per_group, num_atoms)
    summing = torch.promote_types(x.dtype, torch.float32)  # sums over pixels or taps are kept in at least float32
    grad_padded = torch.zeros_like(padded if needs.x else padded[:0], dtype=summing)
    # In the layout of the coefficients: with one image, BatchNorm's backward on the CPU (torch 2.15) reads a gradient
    # of another layout wrongly once a view has merged atoms and bases into channels.
    grad_coefficients = torch.empty_like(coefficients if needs.coefficients else coefficients[:0])
    grad_bases = x.new_zeros(flat_bases.shape, dtype=summing)
    grad_weight = x.new_zeros(grouped.shape, dtype=summing)  # contiguous whatever weight is, as its fake promises
    for block in _blocks(coefficients, flat_bases.shape[1] * x.shape[1]):
        alpha = _per_pixel(coefficients, block)
        atoms = alpha @ flat_bases
        patches = _patches(_window(block, geometry).of(padded), geometry)
        grad_y = block.of(grad.permute(0, 2, 3, 1)).reshape(-1, groups, out_channels // groups)
        grad_z = torch.einsum("pgo,gocm->pmgc", grad_y, grouped).reshape(-1, num_atoms, x.shape[1])
        if needs.weight:
            z = torch.einsum("pmu,puc->pmc", atoms, patches).view(-1, num_atoms, groups, in_per_group)
            grad_weight += torch.einsum("pgo,pmgc->gocm", grad_y, z)
        if needs.coefficients or needs.bases:
            grad_atoms = torch.einsum("pmc,puc->pmu", grad_z, patches)
        if needs.coefficients:
            part = block.of(grad_coefficients.permute(0, 3, 4, 1, 2))
            part.copy_((grad_atoms @ flat_bases.t()).view(part.shape))
        if needs.bases:
            grad_bases += torch.einsum("pmk,pmu->ku", alpha, grad_atoms)
        if needs.x:
            window = _window(block, geometry).of(grad_padded)
            _scatter_patches(torch.einsum("pmu,pmc->puc", atoms, grad_z), window, geometry, *block.shape[1:])
    top, left = geometry.padding
    inside = grad_padded[:, top : top + x.shape[2], left : left + x.shape[3]]
    return (
        x.new_empty(inside.shape).copy_(inside).permute(0, 3, 1, 2) if needs.x else x.new_empty(0),
        grad_coefficients if needs.coefficients else x.new_empty(0),
        grad_bases.view_as(bases).to(bases.dtype) if needs.bases else x.new_empty(0),
        grad_weight.view_as(weight).to(weight.dtype) if needs.weight else x.new_empty(0),
    )
