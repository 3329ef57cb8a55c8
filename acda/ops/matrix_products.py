"""The adaptive convolution as matrix products around three small kernels, for backends that compile the kernels.

Forward, for a block of output pixels: atoms ``D = αψ`` (a matrix product), the atom convolution ``z`` (a kernel), the
coefficient convolution ``y = A z`` (a matrix product). Backward keeps neither D nor z but computes D again and uses

- ``W[q, b, o] = Σ_u D[b, u, q − u] · dy[o, q − u]`` (a kernel) at every input pixel q, after which ``dx = Aᵀ W`` and
  ``dA = Wᵀ x`` are matrix products, so that z is not needed;
- ``dz = Aᵀ dy`` and ``dD[b, u, p] = Σ_c dz[c, b, p] · x[c, p + u]`` (a kernel) at every output pixel p, after which
  ``dα = dD ψᵀ`` and ``dψ = αᵀ dD`` are matrix products.

Each pixel is written by one thread, in a fixed order: gradients repeat bit for bit. Everything between input and output
exists for one block at a time.
"""

from collections.abc import Iterator
from math import ceil, prod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops.blocks import Block, blocks
from acda.ops.geometry import Geometry
from acda.ops.problem import Gradients, Needs, Problem


class TapLayout(NamedTuple):
    """Where the taps of an atom stand among T numbers: that of row i and column j at ``i · pitch + j``.

    Attributes:
        pitch: Distance of rows, at least l.
        size: T, at least ``(l − 1) · pitch + l``.
    """

    pitch: int
    size: int

    @classmethod
    def packed(cls, kernel_size: int, multiple: int) -> "TapLayout":
        """Rows without a gap, and a size that is a multiple of a number."""
        return cls(kernel_size, ceil(kernel_size**2 / multiple) * multiple)

    def spread(self, bases: Tensor) -> Tensor:
        """Lay out ``[K, l, l]`` as ``[K, T]``, with zeros between rows and after the last."""
        rows = F.pad(bases, (0, self.pitch - bases.shape[2])).flatten(1)
        return F.pad(rows, (0, self.size - rows.shape[1]))

    def collect(self, taps: Tensor, kernel_size: int) -> Tensor:
        """Collect ``[K, l, l]`` from ``[K, T]``."""
        rows = F.pad(taps, (0, kernel_size * self.pitch - self.size))
        return rows.view(-1, kernel_size, self.pitch)[..., :kernel_size]


class Kernels(Protocol):
    """What a backend compiles. Tensors are contiguous, of one dtype, and lie on one device; ``out`` is all written.

    What atoms have between rows of taps and after the last is zero, or not a number where taps are not finite.
    Gradients there must be zero.
    """

    def tap_layout(self, geometry: Geometry, num_atoms: int) -> TapLayout:
        """Choose where the taps of the atoms stand that kernels read."""
        ...

    def grad_layout(self, geometry: Geometry) -> TapLayout:
        """Choose where their gradients are to stand."""
        ...

    def compute_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Choose the dtype to convert operands of ``dtype`` to."""
        ...

    def block_pixels(self, elements_per_pixel: int) -> int:
        """How many pixels a block may have if intermediate results have so many elements for each."""
        ...

    def convolve(self, x: Tensor, atoms: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        """Atom convolution ``z[p, b, c] = Σ_u atoms[p, b, u] · x[p·stride + u·dilation − padding, c]``.

        Args:
            x: ``[N, H, W, C]``, zero beyond its border.
            atoms: ``[pixels of outputs, m, T]``.
            outputs: Block of output pixels.
            geometry: Where the windows lie.
            out: For z, ``[pixels of outputs, m, C]``.
        """
        ...

    def gather(
        self, grad: Tensor, atoms: Tensor, inputs: Block, outputs: Block, geometry: Geometry, out: Tensor
    ) -> None:
        """Transposed atom convolution ``W[q, b, o] = Σ atoms[p, b, u] · grad[p, o]`` over all p whose tap u is at q.

        Args:
            grad: ``[N, H_out, W_out, O]``.
            atoms: ``[pixels of outputs, m, T]``.
            inputs: Block of input pixels q.
            outputs: Block that holds every output pixel whose window reaches ``inputs``; it may be empty.
            geometry: Where the windows lie.
            out: For W, ``[pixels of inputs, m, O]``.
        """
        ...

    def correlate(self, x: Tensor, grad_z: Tensor, outputs: Block, geometry: Geometry, out: Tensor) -> None:
        """Gradient of the atoms, ``dD[p, b, u] = Σ_c grad_z[p, b, c] · x[p·stride + u·dilation − padding, c]``.

        Args:
            x: ``[N, H, W, C]``, zero beyond its border.
            grad_z: ``[pixels of outputs, m, C]``.
            outputs: Block of output pixels.
            geometry: Where the windows lie.
            out: For dD, ``[pixels of outputs, m, T]`` with the T of :meth:`grad_layout`.
        """
        ...


class _Scratch:
    """Memory for intermediate results, taken once and used again for every block.

    Fresh memory for every block would be given back and mapped again each time, which costs more than small kernels.
    """

    def __init__(self, like: Tensor) -> None:
        self._like = like
        self._buffers: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int) -> Tensor:
        """Give an uninitialised contiguous tensor; it shares its memory with earlier ones of this name."""
        size = prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[name] = self._like.new_empty(size)
        return buffer[:size].view(shape)


class Operands:
    """The operands as the kernels want them, and what is computed of them for a block.

    Attributes:
        x: ``[N, H, W, C]``.
        square_bases: ``[K, l, l]``.
        bases: ``[K, T]``, as atoms are.
        weight: ``[G, O / G, C / G, m]``.
        geometry: Where the windows lie.
        scratch: Memory for intermediate results, of the dtype that is computed in.
    """

    def __init__(self, kernels: Kernels, problem: Problem) -> None:
        dtype = kernels.compute_dtype(problem.x.dtype)
        self.kernels = kernels
        self.x = problem.x.permute(0, 2, 3, 1).to(dtype).contiguous()
        self.square_bases = problem.bases.to(dtype)
        self.bases = kernels.tap_layout(problem.geometry, problem.weight.shape[2]).spread(self.square_bases)
        self.weight = problem.weight.reshape(problem.groups, -1, *problem.weight.shape[1:]).to(dtype)
        self.geometry = problem.geometry
        self.scratch = _Scratch(self.x)
        self._coefficients = problem.coefficients.permute(0, 3, 4, 1, 2)

    def alpha(self, outputs: Block) -> Tensor:
        """Coefficients of a block, ``[pixels · m, K]``."""
        part = outputs.of(self._coefficients)
        if part.dtype != self.x.dtype or not part.is_contiguous():
            part = self.scratch("alpha", *part.shape).copy_(part)
        return part.view(-1, part.shape[-1])

    def atoms(self, outputs: Block) -> Tensor:
        """Atoms of a block, ``[pixels, m, T]``."""
        num_atoms, taps = self.weight.shape[3], self.bases.shape[1]
        atoms = self.scratch("atoms", outputs.pixels, num_atoms, taps)
        torch.mm(self.alpha(outputs), self.bases, out=atoms.view(-1, taps))
        return atoms

    def output_blocks(self) -> Iterator[Block]:
        """Blocks of output pixels."""
        images, rows, columns, num_atoms, num_bases = self._coefficients.shape
        elements = num_atoms * (self.x.shape[3] + self.bases.shape[1] + num_bases)
        return blocks(images, rows, columns, self.kernels.block_pixels(elements))

    def input_blocks(self, channels: int) -> Iterator[Block]:
        """Blocks of input pixels, if besides the atoms there will be so many channels for each atom."""
        elements = self.weight.shape[3] * (channels + self.bases.shape[1])
        images, rows, columns = self.x.shape[:3]
        return blocks(images, rows, columns, self.kernels.block_pixels(elements))


def _by_group(pixels: Tensor, groups: int) -> Tensor:
    """``[P, m, C]`` as ``[G, P, m·C/G]``."""
    count, num_atoms, channels = pixels.shape
    return pixels.view(count, num_atoms, groups, channels // groups).permute(2, 0, 1, 3).reshape(groups, count, -1)


def _multiply(a: Tensor, b: Tensor, out: Tensor, scratch: _Scratch) -> None:
    """Multiply matrices group by group.

    Args:
        a: ``[G, P, k]``.
        b: ``[G, k, m·C/G]``.
        out: ``[…, m, C]`` with P pixels in the dimensions before.
        scratch: For a result that cannot be written to its place at once.
    """
    groups, count, _ = a.shape
    num_atoms = out.shape[-2]
    if groups == 1 and out.is_contiguous():
        torch.mm(a[0], b[0], out=out.view(count, -1))
        return
    product = scratch("product", groups, count, b.shape[2])
    torch.bmm(a, b, out=product)
    out.copy_(product.view(groups, count, num_atoms, -1).permute(1, 2, 0, 3).reshape(out.shape))


def reach(inputs: Block, geometry: Geometry, rows: int, columns: int) -> Block:
    """Of ``rows`` × ``columns`` output pixels those whose windows may hold a pixel of ``inputs``; they may be none."""
    ranges = []
    for axis, (part, size) in enumerate(((inputs.rows, rows), (inputs.columns, columns))):
        stride, padding = geometry.stride[axis], geometry.padding[axis]
        first = min(size, max(0, -(-(part.start + padding - geometry.span[axis] + 1) // stride)))
        last = min(size - 1, (part.stop - 1 + padding) // stride)
        ranges.append(slice(first, max(first, last + 1)))
    return Block(inputs.images, *ranges)


def forward(kernels: Kernels, problem: Problem) -> Tensor:
    """Compute the output, ``[N, O, H_out, W_out]``, channels last in memory."""
    x, weight, groups = problem.x, problem.weight, problem.groups
    operands = Operands(kernels, problem)
    scratch, num_atoms = operands.scratch, weight.shape[2]
    project = operands.weight.permute(0, 3, 2, 1).reshape(groups, -1, weight.shape[0] // groups)
    out = operands.x.new_empty(problem.output_shape)
    for outputs in operands.output_blocks():
        z = scratch("z", outputs.pixels, num_atoms, x.shape[1])
        kernels.convolve(operands.x, operands.atoms(outputs), outputs, problem.geometry, z)
        _multiply(_by_group(z, groups), project, outputs.of(out).unsqueeze(-2), scratch)
    if problem.bias is not None:
        out += problem.bias
    return out.to(x.dtype).permute(0, 3, 1, 2)


def backward(kernels: Kernels, grad: Tensor, problem: Problem, needs: Needs) -> Gradients:
    """Compute the gradients of :func:`forward` from that of its output, ``[N, O, H_out, W_out]``."""
    x, coefficients, bases, weight, *_ = problem
    operands = Operands(kernels, problem)
    grad_nhwc = grad.permute(0, 2, 3, 1).to(operands.x.dtype).contiguous()
    # In the layout of the coefficients: with one image, BatchNorm's backward on the CPU (torch 2.15) reads a gradient
    # of another layout wrongly once a view has merged atoms and bases into channels.
    grad_coefficients = torch.empty_like(coefficients if needs.coefficients else coefficients[:0])
    grad_x, grad_weight = _through_channels(operands, grad_nhwc, needs)
    grad_bases = _through_atoms(operands, grad_nhwc, grad_coefficients, needs)
    return (
        grad_x.to(x.dtype).permute(0, 3, 1, 2) if needs.x else x.new_empty(0),
        grad_coefficients if needs.coefficients else x.new_empty(0),
        grad_bases.to(bases.dtype).contiguous() if needs.bases else x.new_empty(0),
        grad_weight.to(weight.dtype).contiguous() if needs.weight else x.new_empty(0),
    )


def _through_channels(operands: Operands, grad: Tensor, needs: Needs) -> tuple[Tensor, Tensor]:
    """Gradients of x, ``[N, H, W, C]``, and of the weight, ``[O, C / groups, m]``, from ``[N, H_out, W_out, O]``."""
    groups, out_per_group, in_per_group, num_atoms = operands.weight.shape
    scratch = operands.scratch
    project = operands.weight.permute(0, 3, 1, 2).reshape(groups, -1, in_per_group)
    grad_x = torch.empty_like(operands.x if needs.x else operands.x[:0])
    grad_project = _sums_like(project.mT)
    for inputs in operands.input_blocks(grad.shape[3]) if needs.x or needs.weight else ():
        outputs = reach(inputs, operands.geometry, *grad.shape[1:3])
        gathered = scratch("z", inputs.pixels, num_atoms, grad.shape[3])
        operands.kernels.gather(grad, operands.atoms(outputs), inputs, outputs, operands.geometry, gathered)
        by_group = _by_group(gathered, groups)
        if needs.x:
            _multiply(by_group, project, inputs.of(grad_x).unsqueeze(-2), scratch)
        if needs.weight:
            pixels = inputs.of(operands.x).reshape(inputs.pixels, 1, -1)
            grad_project += _by_group(pixels, groups).mT @ by_group
    by_atom = grad_project.view(groups, in_per_group, num_atoms, out_per_group)
    return grad_x, by_atom.permute(0, 3, 1, 2).reshape(-1, in_per_group, num_atoms)


def _through_atoms(operands: Operands, grad: Tensor, grad_coefficients: Tensor, needs: Needs) -> Tensor:
    """Gradient of the bases, ``[K, l, l]``; that of the coefficients, if needed, is written to a tensor like them."""
    groups, out_per_group, _, num_atoms = operands.weight.shape
    scratch, layout = operands.scratch, operands.kernels.grad_layout(operands.geometry)
    bases = layout.spread(operands.square_bases)
    project = operands.weight.permute(0, 1, 3, 2).reshape(groups, out_per_group, -1)
    grad_bases = _sums_like(bases)
    for outputs in operands.output_blocks() if needs.bases or needs.coefficients else ():
        grad_y = _by_group(outputs.of(grad).reshape(outputs.pixels, 1, -1), groups)
        grad_z = scratch("z", outputs.pixels, num_atoms, operands.x.shape[3])
        _multiply(grad_y, project, grad_z, scratch)
        grad_atoms = scratch("atoms", outputs.pixels, num_atoms, bases.shape[1])
        operands.kernels.correlate(operands.x, grad_z, outputs, operands.geometry, grad_atoms)
        flat = grad_atoms.view(-1, bases.shape[1])
        if needs.coefficients:
            part = outputs.of(grad_coefficients.permute(0, 3, 4, 1, 2))
            if part.is_contiguous() and part.dtype == flat.dtype:
                torch.mm(flat, bases.t(), out=part.view(-1, len(bases)))
            else:
                part.copy_(torch.mm(flat, bases.t(), out=scratch("alpha", len(flat), len(bases))).view(part.shape))
        if needs.bases:
            grad_bases += operands.alpha(outputs).t() @ flat
    return layout.collect(grad_bases, operands.geometry.kernel_size)


def _sums_like(tensor: Tensor) -> Tensor:
    """Contiguous zeros to add up the results of blocks in, in at least float32."""
    return tensor.new_zeros(tensor.shape, dtype=torch.promote_types(tensor.dtype, torch.float32))
