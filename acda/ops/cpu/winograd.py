"""Convolutions of 3×3 taps on the CPU by Winograd's algorithm: a quarter of the multiplications, in float32."""

from torch import Tensor
from torch.nn import functional as F

from acda.ops.cpu.pointers import image_strides
from acda.ops.cpu.threads import num_threads, run

_TILES_OF_SLOT = 512  # whose sums are added up apart
_MOST_SLOTS = 8


def tiles(size: int) -> int:
    """Tiles of four results that so many results are made of."""
    return -(-size // 4)


def convolve(x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
    """Compute ``F.conv2d(x, weight, padding=padding)``.

    Args:
        x: ``[N, C, H, W]``, channels last in memory.
        weight: ``[O, C, 3, 3]``.
        padding: Zeros above and below, left and right.

    Returns:
        ``[N, O, H_out, W_out]``, channels last in memory.
    """
    from acda.ops.cpu import winograd_loops

    images, _, rows, columns = x.shape
    y = x.new_empty(images, rows + 2 * padding[0] - 2, columns + 2 * padding[1] - 2, len(weight))
    by_tap = F.pad(weight.permute(2, 3, 1, 0), (0, _whole_vectors(len(weight)) - len(weight)))
    filters = x.new_empty(36, *by_tap.shape[2:])
    _transform(by_tap.contiguous(), filters)
    _run(winograd_loops.forward_loop(), x, filters, y, padding, 0)
    return y.permute(0, 3, 1, 2)


def grad_weight(grad: Tensor, x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Compute the gradient of the weight, ``[O, C, 3, 3]``.

    Args:
        grad: That of the output, ``[N, O, H_out, W_out]``, channels last in memory.
        x: As given to :func:`convolve`.
        padding: Likewise.
    """
    from acda.ops.cpu import winograd_loops

    channels, out_channels = x.shape[1], grad.shape[1]
    y = grad.permute(0, 2, 3, 1)
    slots = max(1, min(_MOST_SLOTS, len(y) * tiles(y.shape[1]) * tiles(y.shape[2]) // _TILES_OF_SLOT))
    sums = x.new_zeros(slots, 36, _whole_groups(channels), _whole_vectors(out_channels))
    _run(winograd_loops.weight_loop(), x, sums, y, padding, slots)
    by_tap = sums.new_empty(3, 3, *sums.shape[2:])
    _transform(sums.sum(0), by_tap)
    return by_tap[..., :channels, :out_channels].permute(3, 2, 0, 1).contiguous()


def _transform(source: Tensor, target: Tensor) -> None:
    """Make ``[36, C, O]`` of the filters ``[3, 3, C, O]``, or the gradient of these of that of those."""
    from acda.ops.cpu import winograd_loops

    loop = winograd_loops.filters_loop(len(source) == 36)
    channels, padded_out = source.shape[-2:]
    numbers = winograd_loops.Filters(channels, padded_out, source.data_ptr(), target.data_ptr())
    run(loop, numbers, threads=num_threads())


def _whole_groups(channels: int) -> int:
    from acda.ops.cpu.compiling import GROUP

    return -(-channels // GROUP) * GROUP


def _whole_vectors(channels: int) -> int:
    from acda.ops.cpu.compiling import registers

    lanes = registers(False).lanes
    return -(-channels // lanes) * lanes


def _run(loop: int, x: Tensor, products: Tensor, y: Tensor, padding: tuple[int, int], slots: int) -> None:
    from acda.ops.cpu import winograd_loops

    x = x.permute(0, 2, 3, 1)
    images, rows, columns, channels = x.shape
    _, out_rows, out_columns, out_channels = y.shape
    padded_channels, padded_out = _whole_vectors(_whole_groups(channels)), products.shape[-1]
    threads = num_threads()
    scratch = x.new_empty(threads, winograd_loops.scratch_elements(padded_channels, padded_out))
    tile_rows, tile_columns = tiles(out_rows), tiles(out_columns)
    x_of_image, x_of_row, _ = image_strides(x)
    y_of_image, y_of_row, _ = image_strides(y)
    numbers = winograd_loops.Winograd(
        tiles=images * tile_rows * tile_columns,
        tile_rows=tile_rows,
        tile_columns=tile_columns,
        rows=rows,
        columns=columns,
        channels=channels,
        padded_channels=padded_channels,
        out_rows=out_rows,
        out_columns=out_columns,
        out_channels=out_channels,
        padded_out=padded_out,
        padding_rows=padding[0],
        padding_columns=padding[1],
        x=x.data_ptr(),
        x_of_image=x_of_image,
        x_of_row=x_of_row,
        y=y.data_ptr(),
        y_of_image=y_of_image,
        y_of_row=y_of_row,
        products=products.data_ptr(),
        slots=slots,
        scratch=scratch.data_ptr(),
        scratch_of_thread=scratch.stride(0) * x.element_size(),
    )
    run(loop, numbers, threads=threads)
