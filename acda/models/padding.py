"""Brings an image to a size that a network's down-sampling divides."""

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(image: Tensor, multiple: int, mode: str = "constant") -> Tensor:
    """Pad an image at the bottom and the right until ``multiple`` divides both its sides.

    The image keeps its place at the top left: ``padded[..., :H, :W]`` is what went in.

    Args:
        image: ``[N, C, H, W]``; any of them may be 0.
        multiple: What both sides must be a multiple of, in pixels.
        mode: How the image continues, as in :func:`torch.nn.functional.pad`. Only ``"constant"`` (zeros) and
            ``"replicate"`` take images of any size; ``"reflect"`` and ``"circular"`` cannot continue a small one.

    Returns:
        ``[N, C, ⌈H / multiple⌉ · multiple, ⌈W / multiple⌉ · multiple]``.

    Raises:
        ValueError: If ``multiple`` is less than 1.
    """
    if multiple < 1:
        raise ValueError(f"multiple must be at least 1, got {multiple}")
    if image.numel() == 0:
        mode = "constant"  # nothing to continue
    return F.pad(image, (0, -image.shape[-1] % multiple, 0, -image.shape[-2] % multiple), mode=mode)
