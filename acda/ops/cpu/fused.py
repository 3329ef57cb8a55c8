"""All steps of a pass fused into one loop, for channels few enough that the weight stays in a core's cache.

A thread takes a few pixels through all steps while what lies between stays in its own cache. The forward pass and the
gradient of the coefficients know no blocks, and need no memory but some kilobytes for each thread; the other gradients
need the atoms of a block. Problems have one group.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops import matrix_products
from acda.ops.cpu import few_channels
from acda.ops.cpu.pointers import KERNELS, gathered, image_strides
from acda.ops.cpu.taps import met_by_outputs
from acda.ops.cpu.threads import num_threads, run
from acda.ops.geometry import Geometry
from acda.ops.problem import Gradients, Needs, Problem

# The coefficient convolution reads the whole weight for every few pixels.
_WEIGHT_BYTES = 2**19
# Gradients of the weight that are added up apart, for each thread: more of them share the work more evenly.
_SLOTS = 2


def can_run(problem: Problem) -> bool:
    """Whether these passes can take the operands, and are the faster ones."""
    bytes_ = problem.weight.numel() * problem.weight.element_size()
    return problem.x.dtype in (torch.float32, torch.float64) and problem.groups == 1 and bytes_ <= _WEIGHT_BYTES


def forward(problem: Problem) -> Tensor:
    """Compute the output, ``[N, O, H_out, W_out]``, channels last in memory."""
    from acda.ops.cpu import compiling, fused_loops

    if few_channels.can_run(problem):
        return few_channels.forward(problem)
    x, coefficients, bases, weight, bias, geometry, _ = problem
    out_channels, _, num_atoms = weight.shape
    out = x.new_empty(problem.output_shape)
    double = x.dtype == torch.float64
    flat = bases.flatten(1)
    padded = F.pad(flat, (0, -flat.shape[1] % compiling.registers(double).lanes))
    project = weight.permute(2, 1, 0).reshape(-1, out_channels).contiguous()
    bias = None if bias is None else bias.contiguous()
    loop = fused_loops.forward_loop(double, num_atoms)
    _run(loop, x, coefficients, padded, padded.shape[1], project, bias, out, geometry)
    return out.permute(0, 3, 1, 2)


def backward(grad: Tensor, problem: Problem, needs: Needs) -> Gradients:
    """Compute the gradients of :func:`forward` from that of its output, ``[N, O, H_out, W_out]``."""
    problem = problem._replace(x=problem.x.contiguous(memory_format=torch.channels_last))
    grad = grad.contiguous(memory_format=torch.channels_last)
    grad_x, grad_coefficients, grad_bases, grad_weight = (problem.x.new_empty(0) for _ in needs)
    few = few_channels.can_run(problem)
    if needs.x or (needs.weight and not few):
        grad_x, grad_weight = _through_channels(grad, problem, needs)
    if few and (needs.coefficients or (needs.weight and not needs.x)):
        of_weight = needs.weight and not needs.x  # else it came with that of x
        grad_coefficients, summed = few_channels.backward(grad, problem, needs.coefficients, of_weight)
        grad_weight = summed if of_weight else grad_weight
    elif needs.coefficients:
        grad_coefficients = _grad_coefficients(grad, problem)
    if needs.bases:  # rarely asked for
        alone = Needs(x=False, coefficients=False, bases=True, weight=False)
        grad_bases = matrix_products.backward(KERNELS, grad, problem, alone)[2]
    return grad_x, grad_coefficients, grad_bases, grad_weight


def _through_channels(grad: Tensor, problem: Problem, needs: Needs) -> tuple[Tensor, Tensor]:
    """Gradients of x, ``[N, C, H, W]``, and of the weight, ``[O, C, m]``; an empty tensor for one not needed."""
    from acda.ops.cpu import fused_loops

    operands = matrix_products.Operands(KERNELS, problem)
    _, out_channels, in_channels, num_atoms = operands.weight.shape
    x, size = operands.x, operands.x.element_size()
    grad_nhwc = grad.permute(0, 2, 3, 1)
    project = operands.weight[0].permute(2, 0, 1).reshape(-1, in_channels).contiguous()
    threads = num_threads()
    slots = _SLOTS * threads
    grad_x = torch.empty_like(x if needs.x else x[:0])
    sums = x.new_zeros(slots if needs.weight else 0, in_channels, num_atoms, out_channels)
    scratch = x.new_empty(threads, fused_loops.RUN * (num_atoms * out_channels + 2 * in_channels))
    loop = fused_loops.channels_loop(x.dtype == torch.float64, num_atoms)
    of_image, of_row, of_column = image_strides(x)
    # Atoms are all that a block keeps; as few as beside W and dz, they stay in the cache while neighbours are read.
    for inputs in operands.input_blocks(2 * out_channels):
        outputs = matrix_products.reach(inputs, problem.geometry, *grad_nhwc.shape[1:3])
        w = gathered(grad_nhwc, operands.atoms(outputs), inputs, outputs, problem.geometry, out=0)
        first = inputs.images.start * of_image + inputs.rows.start * of_row + inputs.columns.start * of_column
        numbers = fused_loops.Channels(
            in_channels=in_channels,
            x=x.data_ptr() + first,
            grad_x=grad_x.data_ptr() + first if needs.x else 0,
            of_image=of_image,
            of_row=of_row,
            weight=project.data_ptr(),
            sums=sums.data_ptr() if needs.weight else 0,
            slots=slots,
            scratch=scratch.data_ptr(),
            scratch_of_thread=scratch.stride(0) * size,
        )
        run(loop, (*w.numbers, *numbers), w.rows, w.columns, threads=threads)
    grad_weight = sums.sum(0).permute(2, 0, 1).contiguous() if needs.weight else x.new_empty(0)
    return grad_x.permute(0, 3, 1, 2) if needs.x else x.new_empty(0), grad_weight


def _grad_coefficients(grad: Tensor, problem: Problem) -> Tensor:
    """Gradient of the coefficients, in their layout."""
    from acda.ops.cpu import fused_loops

    x, coefficients, bases, weight, _, geometry, _ = problem
    out_channels, _, num_atoms = weight.shape
    out = torch.empty_like(coefficients)
    by_pixel = out if out.stride(2) == 1 else out.new_empty(out.permute(0, 3, 4, 1, 2).shape).permute(0, 3, 4, 1, 2)
    project = weight.permute(0, 2, 1).reshape(out_channels, -1).contiguous()
    flat = bases.flatten(1)
    loop = fused_loops.alpha_loop(x.dtype == torch.float64, num_atoms)
    transposed = flat.t().contiguous()
    _run(loop, x, by_pixel, transposed, flat.shape[1], project, None, grad.permute(0, 2, 3, 1), geometry)
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
    """Run a loop of :class:`acda.ops.cpu.fused_loops.Fused`; ``bases``, ``project`` and ``y`` as it wants them."""
    from acda.ops.cpu import compiling, fused_loops

    images, num_atoms, num_bases, rows, columns = coefficients.shape
    x = x.permute(0, 2, 3, 1).contiguous()
    height, width, channels = x.shape[1:]
    size = x.element_size()
    of_image, of_row, of_column = image_strides(x)
    threads = num_threads()
    scratch = x.new_empty(threads, num_atoms * (taps + compiling.GROUP * channels))
    of_alpha = [stride * size for stride in coefficients.stride()]
    vertical = met_by_outputs(0, rows, height, 0, geometry)
    horizontal = met_by_outputs(0, columns, width, 1, geometry)
    numbers = fused_loops.Fused(
        pixels=images * rows * columns,
        rows=rows,
        columns=columns,
        channels=channels,
        out_channels=y.shape[3],
        num_bases=num_bases,
        taps=taps,
        side=geometry.kernel_size,
        x=x.data_ptr(),
        x_of_image=of_image,
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
        threads=threads,
    )
