"""All steps of a pass fused into one loop, for images of few channels, such as photographs.

See :mod:`acda.ops.cpu.few_channels_loops`. The gradient of x is not among the results: that of an image which a network
is given is not asked for.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops.cpu.pointers import image_strides
from acda.ops.cpu.taps import met_by_outputs
from acda.ops.cpu.threads import num_threads, run
from acda.ops.problem import Problem

_MOST_CHANNELS = 8
_MOST_ROWS = 128  # m · C: so much is unrolled
_SLOTS = 64  # that pixels are split over, to be shared by threads


def can_run(problem: Problem) -> bool:
    """Whether these passes are faster than others that can run."""
    _, channels, num_atoms = problem.weight.shape
    return channels <= min(_MOST_CHANNELS, 2 * num_atoms) and channels * num_atoms <= _MOST_ROWS


def forward(problem: Problem) -> Tensor:
    """Compute the output, ``[N, O, H_out, W_out]``, channels last in memory."""
    out = problem.x.new_empty(problem.output_shape)
    project = problem.weight.permute(2, 1, 0).contiguous()
    bias = None if problem.bias is None else problem.bias.contiguous()
    _run(problem, project, bias, out, None, None)
    return out.permute(0, 3, 1, 2)


def backward(grad: Tensor, problem: Problem, coefficients: bool, weight: bool) -> tuple[Tensor, Tensor]:
    """Compute gradients of coefficients and weight from that of the output, channels last in memory.

    Args:
        grad: ``[N, O, H_out, W_out]``.
        problem: The operands.
        coefficients: Whether the gradient of the coefficients is needed.
        weight: Whether that of the weight is.

    Returns:
        The two in the layouts of :data:`acda.ops.problem.Gradients`.
    """
    out_channels, channels, num_atoms = problem.weight.shape
    out = torch.empty_like(problem.coefficients if coefficients else problem.coefficients[:0])
    by_pixel = out.permute(0, 3, 4, 1, 2)
    written = by_pixel.contiguous()
    sums = problem.x.new_zeros(_SLOTS if weight else 0, num_atoms, channels, out_channels)
    project = problem.weight.permute(0, 2, 1).contiguous()
    _run(problem, project, None, grad.permute(0, 2, 3, 1), written, sums)
    if written.data_ptr() != by_pixel.data_ptr():
        by_pixel.copy_(written)
    nothing = problem.x.new_empty(0)
    return out if coefficients else nothing, sums.sum(0).permute(2, 1, 0).contiguous() if weight else nothing.clone()


def _run(
    problem: Problem, project: Tensor, bias: Tensor | None, y: Tensor, grad_alpha: Tensor | None, sums: Tensor | None
) -> None:
    """Run a loop of :class:`acda.ops.cpu.few_channels_loops.FewChannels`, which says how the tensors are to lie.

    Backward is run where ``sums`` are given; an empty tensor stands for one that is not wanted.
    """
    from acda.ops.cpu import few_channels_loops

    x = problem.x.permute(0, 2, 3, 1).contiguous()
    alpha = problem.coefficients.permute(0, 3, 4, 1, 2).contiguous()
    geometry = problem.geometry
    images, rows, columns, num_atoms, num_bases = alpha.shape
    height, width, channels = x.shape[1:]
    double = x.dtype == torch.float64
    padded = few_channels_loops.whole_vectors(num_bases, double)
    bases = F.pad(problem.bases.permute(1, 2, 0), (0, padded - num_bases)).contiguous()
    size = x.element_size()
    of_image, of_row, of_column = image_strides(x)
    threads = num_threads()
    scratch = x.new_empty(threads, few_channels_loops.scratch_elements(num_atoms, channels, padded))
    side = geometry.kernel_size
    make = few_channels_loops.forward_loop if sums is None else few_channels_loops.backward_loop
    numbers = few_channels_loops.FewChannels(
        pixels=images * rows * columns,
        rows=rows,
        columns=columns,
        out_channels=y.shape[3],
        slots=_SLOTS,
        x=x.data_ptr(),
        x_of_image=of_image,
        x_of_row=geometry.dilation[0] * of_row,
        x_of_column=geometry.dilation[1] * of_column,
        alpha=alpha.data_ptr(),
        bases=bases.data_ptr(),
        bases_of_row=side * padded * size,
        weight=project.data_ptr(),
        bias=0 if bias is None else bias.data_ptr(),
        y=y.data_ptr(),
        grad_alpha=grad_alpha.data_ptr() if grad_alpha is not None and grad_alpha.numel() else 0,
        sums=sums.data_ptr() if sums is not None and sums.numel() else 0,
        scratch=scratch.data_ptr(),
        scratch_of_thread=scratch.stride(0) * size,
    )
    vertical = met_by_outputs(0, rows, height, 0, geometry)
    horizontal = met_by_outputs(0, columns, width, 1, geometry)
    run(
        make(double, num_atoms, channels, num_bases),
        numbers,
        vertical.table(vertical.position * of_row, vertical.first * side * padded * size),
        horizontal.table(horizontal.position * of_column, horizontal.first * padded * size),
        threads=threads,
    )
