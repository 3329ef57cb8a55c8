"""Networks applied to images of any size: in tiles that give exactly what the whole gives, and in several poses."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Pose = tuple[int, bool]
"""A pose: quarter turns to the left, then whether to flip left and right."""

FLIP: tuple[Pose, ...] = ((0, False), (0, True))
"""As it is, and flipped."""

ALL_POSES: tuple[Pose, ...] = tuple((turns, flip) for flip in (False, True) for turns in range(4))
"""The eight turns and flips of a square."""


def apply_tiled(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int,
    halo: int,
    align: int = 1,
    output_stride: int = 1,
    after_tile: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Apply a network part by part; equal to ``network(image)``, in the memory of a part and of the output.

    Each part is read with a halo, as far as the image reaches, and of its output the inside is kept.

    Args:
        network: Maps ``[N, C, H, W]`` to ``[N, C', ⌈H / output_stride⌉, ⌈W / output_stride⌉]``, in evaluation mode.
        image: ``[N, C, H, W]``.
        tile: Side of a part in pixels, without its halo; a multiple of ``align``.
        halo: Pixels around it; at least :func:`acda.analysis.receptive_halo`, and a multiple of ``align``.
        align: The network's total stride.
        output_stride: Pixels of the image between neighbours in the output; divides ``align``.
        after_tile: Called after each part with how many are done, and how many there are. Default: nothing is.

    Returns:
        ``[N, C', ⌈H / output_stride⌉, ⌈W / output_stride⌉]``.

    Raises:
        ValueError: If ``tile`` or ``halo`` is no multiple of ``align``, or the network's output is of another size.
    """
    if tile < 1 or tile % align:
        raise ValueError(f"tile must be a positive multiple of {align}, the network's total stride, got {tile}")
    if halo < 0 or halo % align:
        raise ValueError(f"halo must be a multiple of {align}, the network's total stride, got {halo}")
    height, width = image.shape[2:]
    if height <= tile and width <= tile:
        return network(image)
    output: Tensor | None = None
    done, total = 0, -(-height // tile) * -(-width // tile)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = _window(top, tile, halo, height), _window(left, tile, halo, width)
            part = network(image[..., rows, columns])
            expected = [-(-(s.stop - s.start) // output_stride) for s in (rows, columns)]
            if list(part.shape[2:]) != expected:
                raise ValueError(
                    f"the network gives {list(part.shape[2:])} instead of {expected} for a tile of "
                    f"{rows.stop - rows.start}×{columns.stop - columns.start} pixels (output_stride={output_stride})"
                )
            if output is None:
                size = (-(-height // output_stride), -(-width // output_stride))
                output = part.new_empty(*part.shape[:2], *size)
            inside = output[..., _cells(top, tile, output_stride), _cells(left, tile, output_stride)]
            down, right = (top - rows.start) // output_stride, (left - columns.start) // output_stride
            inside.copy_(part[..., down : down + inside.shape[2], right : right + inside.shape[3]])
            done += 1
            if after_tile is not None:
                after_tile(done, total)
    assert output is not None
    return output


def self_ensemble(network: Callable[[Tensor], Tensor], image: Tensor, poses: Sequence[Pose] = ALL_POSES) -> Tensor:
    """Mean of a network's outputs for several poses of an image, each turned back.

    Of a network that is equivariant to them the result is its output.

    Args:
        network: Maps ``[N, C, H, W]`` to ``[N, C', H', W']``.
        image: ``[N, C, H, W]``.
        poses: The poses, as quarter turns and a flip each.

    Returns:
        ``[N, C', H', W']``.

    Reference:
        B. Lim et al., *Enhanced Deep Residual Networks for Single Image Super-Resolution*, CVPRW 2017, section 3.4.
    """
    total: Tensor | None = None
    for turns, flip in poses:
        posed = torch.rot90(image, turns, (2, 3))
        output = network(posed.flip(3) if flip else posed)
        output = torch.rot90(output.flip(3) if flip else output, -turns, (2, 3))
        total = output.clone() if total is None else total.add_(output)
    assert total is not None
    return total / len(poses)


def _window(start: int, tile: int, halo: int, size: int) -> slice:
    return slice(max(0, start - halo), min(size, start + tile + halo))


def _cells(start: int, tile: int, output_stride: int) -> slice:
    return slice(start // output_stride, (start + tile) // output_stride)
