"""Whole passes in one loop, for channels few enough that the weight stays in a core's cache.

A thread takes a few pixels from the coefficients to the output while all that lies between stays in its own cache:
there are no blocks, and beyond some kilobytes for each thread no extra memory.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops.cpu.taps import met_by_outputs
from acda.ops.cpu.threads import num_threads, run
from acda.ops.geometry import Geometry

# The coefficient convolution reads the whole weight for every few pixels.
_WEIGHT_BYTES = 2**19


def can_run(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether these passes can take the operands, and are the faster ones."""
    bytes_ = weight.numel() * weight.element_size()
    return x.dtype in (torch.float32, torch.float64) and groups == 1 and bytes_ <= _WEIGHT_BYTES


def forward(
    x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
) -> Tensor:
    """Adaptive convolution of one group; arguments and result as in :func:`acda.ops.reference.forward`."""
    from acda.ops.cpu import loops

    out_channels, _, num_atoms = weight.shape
    out = x.new_empty(x.shape[0], *coefficients.shape[3:], out_channels)
    double = x.dtype == torch.float64
    flat = bases.flatten(1)
    padded = F.pad(flat, (0, -flat.shape[1] % loops.registers(double).lanes))
    project = weight.permute(2, 1, 0).reshape(-1, out_channels).contiguous()
    bias = x.new_zeros(out_channels) if bias is None else bias.contiguous()
    loop = loops.forward_loop(double, num_atoms)
    _run(loop, x, coefficients, padded, padded.shape[1], project, bias, out, geometry)
    return out.permute(0, 3, 1, 2)


def grad_coefficients(
    grad: Tensor, x: Tensor, coefficients: Tensor, bases: Tensor, weight: Tensor, geometry: Geometry
) -> Tensor:
    """Gradient of the coefficients, in their layout; arguments as in :func:`acda.ops.reference.backward`."""
    from acda.ops.cpu import loops

    out_channels, _, num_atoms = weight.shape
    out = torch.empty_like(coefficients)
    by_pixel = out if out.stride(2) == 1 else out.new_empty(out.permute(0, 3, 4, 1, 2).shape).permute(0, 3, 4, 1, 2)
    project = weight.permute(0, 2, 1).reshape(out_channels, -1).contiguous()
    grad = grad.permute(0, 2, 3, 1).contiguous()
    loop = loops.alpha_loop(x.dtype == torch.float64, num_atoms)
    flat = bases.flatten(1)
    _run(loop, x, by_pixel, flat.t().contiguous(), flat.shape[1], project, None, grad, geometry)
    return out if by_pixel is out else out.copy_(by_pixel)


def _run(
    loop: int,
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    taps: int,
    project: Tensor,
    bias: Tensor | None,
    y: Tensor,
    geometry: Geometry,
) -> None:
    """Run a loop of :class:`acda.ops.cpu.loops.Whole`; ``bases``, ``project`` and ``y`` as it wants them."""
    from acda.ops.cpu import loops

    images, num_atoms, num_bases, rows, columns = coefficients.shape
    x = x.permute(0, 2, 3, 1).contiguous()
    height, width, channels = x.shape[1:]
    size = x.element_size()
    of_row, of_column = width * channels * size, channels * size
    scratch = x.new_empty(num_threads(), num_atoms * (taps + loops.GROUP * channels))
    of_alpha = [stride * size for stride in coefficients.stride()]
    vertical = met_by_outputs(0, rows, height, 0, geometry)
    horizontal = met_by_outputs(0, columns, width, 1, geometry)
    numbers = loops.Whole(
        pixels=images * rows * columns,
        rows=rows,
        columns=columns,
        channels=channels,
        out_channels=y.shape[3],
        num_bases=num_bases,
        taps=taps,
        side=geometry.kernel_size,
        x=x.data_ptr(),
        x_of_image=height * of_row,
        x_of_row=geometry.dilation[0] * of_row,
        x_of_column=geometry.dilation[1] * of_column,
        alpha=coefficients.data_ptr(),
        alpha_of_image=of_alpha[0],
        alpha_of_row=of_alpha[3],
        alpha_of_column=of_alpha[4],
        alpha_of_atom=of_alpha[1],
        alpha_of_base=of_alpha[2],
        bases=bases.data_ptr(),
        weight=project.data_ptr(),
        bias=0 if bias is None else bias.data_ptr(),
        y=y.data_ptr(),
        scratch=scratch.data_ptr(),
        scratch_of_thread=scratch.stride(0) * size,
    )
    run(
        loop,
        numbers,
        vertical.table(vertical.position * of_row, vertical.first * geometry.kernel_size * size),
        horizontal.table(horizontal.position * of_column, horizontal.first * size),
    )
