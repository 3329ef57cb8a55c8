"""Photographs restored by weights that come with the project, and which scales their filters use where (Figure 7)."""

import torch
from torch import Tensor

from acda.analysis import capture_scale_magnitudes
from acda.models import pretrained
from benchmarks.pictures.canvas import GREY, Canvas
from datamodules.restoration.sample_photo_files import TEST, make_noisy_pair
from lit_modules.metrics.similarity import psnr
from lit_modules.output.pictures import draw_heat, draw_image

_WEIGHTS = "denoise_real"
_SEED, _DRAW = 0, 10  # of the noise
_PHOTOGRAPH = TEST[0]
_CROP = (slice(60, 204), slice(110, 254))
_LAYER = "body.0.conv2"
_SIDE, _GAP = 288, 18


def restoration() -> Canvas:
    """Draw a part of a photograph that was not trained on: noisy, restored, clean.

    Returns:
        The picture, with the PSNR of what it shows.
    """
    noisy, clean = _pair(_PHOTOGRAPH)
    with torch.no_grad():
        restored = pretrained(_WEIGHTS)(noisy).clamp(0, 1)
    canvas = Canvas(3 * (_SIDE + _GAP) - _GAP, _SIDE + 54)
    titles = ("noisy", f"pretrained:{_WEIGHTS}", "clean")
    for number, (title, image) in enumerate(zip(titles, (noisy, restored, clean), strict=True)):
        left = number * (_SIDE + _GAP)
        shown, wanted = image[..., *_CROP], clean[..., *_CROP]
        canvas.text(left + _SIDE / 2, 6, title, 14, "ma")
        canvas.picture(left, 28, draw_image(shown[0], 0, 1), _SIDE)
        below = f"PSNR {float(psnr(shown, wanted, peak=1)):.2f} dB" if number < 2 else "the original"
        canvas.text(left + _SIDE / 2, _SIDE + 33, below, 13.5, "ma")
    return canvas


def scales() -> Canvas:
    """Draw which scales the filters of the restorer's first ACDA layer use where, on a photograph not trained on.

    Returns:
        The picture, with what its colours mean.
    """
    noisy, _ = _pair(_PHOTOGRAPH)
    network = pretrained(_WEIGHTS)
    with torch.no_grad(), capture_scale_magnitudes(network) as layers:
        network(noisy)
    return draw_scales(noisy, layers[_LAYER])


def draw_scales(image: Tensor, maps: dict[int, Tensor]) -> Canvas:
    """Draw an image beside maps of the coefficients of each scale, all in one range of colours.

    Args:
        image: ``[1, 3, H, W]`` in [0, 1].
        maps: Scale → magnitudes ``[1, h, w]``.
    """
    low = min(float(values.min()) for values in maps.values())
    high = max(float(values.max()) for values in maps.values())
    side = (900 + _GAP // 2) / (1 + len(maps)) - _GAP // 2
    height = side * image.shape[2] / image.shape[3]
    canvas = Canvas(900, round(height) + 78)
    panels = [("noisy photograph", draw_image(image[0], 0, 1))]
    panels += [(f"{scale}x{scale} bases", draw_heat(values[0], low, high)) for scale, values in maps.items()]
    for number, (title, picture) in enumerate(panels):
        left = number * (side + _GAP // 2)
        canvas.text(left + side / 2, 6, title, 14, "ma")
        canvas.picture(left, 28, picture, side)
    below = height + 44
    canvas.scale(canvas.width - 220, below, 220, lambda values: draw_heat(values, low, high), (low, high))
    canvas.text(
        canvas.width - 230,
        below + 4,
        "first ACDA layer: magnitude of the coefficients at each pixel (root mean square)",
        12.5,
        "rm",
        GREY,
    )
    return canvas


def _pair(name: str) -> tuple[Tensor, Tensor]:
    """Make a photograph with noise and without, ``[1, 3, H, W]`` in [0, 1] each."""
    noisy, clean = (
        torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 for pixels in make_noisy_pair(name, _SEED, _DRAW)
    )
    return noisy, clean
