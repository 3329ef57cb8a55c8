"""How far a network looks: what an output pixel depends on."""

import torch
from torch import Tensor, nn

from acda.layers import DeformConv2d

_LONGEST = 8192  # pixels; a network that looks further than half of this reads the image as a whole
_BREADTH = 64  # pixels across a strip: enough for padding by reflection


def receptive_halo(network: nn.Module, in_channels: int = 3, align: int = 1) -> int:
    """Pixels of surroundings that a part of an image needs, to come out as in the whole image.

    Found by trying: NaN at some pixels spreads to every output that depends on them, whatever the weights are. The
    network runs in evaluation mode, on strips along either axis.

    Args:
        network: Maps ``[N, in_channels, H, W]`` to ``[N, C, H', W']`` of about ``H / s × W / s`` pixels.
        in_channels: Channels of the image.
        align: Pixels by which parts of an image may be moved: the network's total stride, all its strides together.

    Returns:
        The halo in pixels, a multiple of ``align``: what lies further away than this from a part whose edges are at
        multiples of ``align`` has no influence on it.

    Raises:
        ValueError: If ``align`` is below 1, or the network reads the image as a whole: it pools over all of it, or
            moves its sampling points by distances of its own choice (deformable convolution).
    """
    if align < 1:
        raise ValueError(f"align must be at least 1, got {align}")
    if any(isinstance(module, DeformConv2d) for module in network.modules()):
        raise _reads_all(network)
    training = network.training
    network.eval()
    try:
        return max(_halo(network, in_channels, align, axis) for axis in (2, 3))
    finally:
        network.train(training)


def _halo(network: nn.Module, in_channels: int, align: int, axis: int) -> int:
    parameter = next(network.parameters(), torch.zeros(()))
    blocks = 16
    while blocks * align <= max(_LONGEST, 64 * align):
        across = -(-_BREADTH // align) * align
        shape = [1, in_channels, across, across]
        shape[axis] = blocks * align
        image = torch.zeros(shape, device=parameter.device, dtype=parameter.dtype)
        middle = blocks // 2 * align
        image.narrow(axis, middle, align).fill_(torch.nan)
        with torch.no_grad():
            reached = _reached(network(image), axis)
        scale = blocks * align / len(reached)
        places = reached.nonzero()[:, 0]
        first, last = int(places.min()), int(places.max())
        if first > 0 and last < len(reached) - 1:
            reach = max(middle - first * scale, (last + 1) * scale - middle - align)
            return -int(-reach // align) * align
        blocks *= 4
    raise _reads_all(network)


def _reached(output: Tensor, axis: int) -> Tensor:
    """Which positions along an axis depend on what is NaN."""
    return output.isnan().any(dim=5 - axis).flatten(0, 1).any(dim=0)


def _reads_all(network: nn.Module) -> ValueError:
    return ValueError(
        f"{type(network).__name__} reads the image as a whole (it pools over all of it, or samples anywhere): no part "
        "of an image comes out as in the whole"
    )
