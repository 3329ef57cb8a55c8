"""How restored images are scored: which pixels, which channels, what counts as one sample."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from lit_modules.metrics.colour import rgb_to_y
from lit_modules.metrics.scores import MeanScore, Score
from lit_modules.metrics.similarity import SsimForm, check_images, psnr, ssim

ProtocolName = Literal["realsr_official", "per_image", "sidd"]

MAX_PSNR = 100.0
_ROWS = 256


class Tiles(NamedTuple):
    """Squares in which a large image is scored.

    Attributes:
        side: Pixels; an image is tiled if both its sides are longer.
        stride: Pixels from one tile to the next. A last tile in each direction always ends at the image's border; where
            the stride leads there too it is a sample twice, as in the RealSR authors' code.
    """

    side: int
    stride: int

    def starts(self, length: int) -> list[int]:
        """List the first pixels of the tiles along a side of an image."""
        return [*range(0, length - self.side + 1, self.stride), length - self.side]


@dataclass(frozen=True)
class EvaluationProtocol:
    """What is compared of a restored image and its target.

    Both are clamped to [0, 1] and rounded to 8 bits, cropped to a multiple, shaved, reduced to Y and rounded again, and
    cut into tiles, in this order; whatever is not asked for is left out. PSNR is that of all channels jointly. Above
    100 dB it counts as 100 dB, so that the infinite one of identical images leaves a mean that can be used.

    Args:
        channels: ``y``: Y of RGB images, or images that are Y divided by 255 already, as one channel. ``rgb``: all
            channels that there are.
        multiple: Rows at the bottom and columns at the right beyond a multiple of this are left out.
        shave: Pixels along each border that are left out.
        tiles: How large images are cut; None scores each image as a whole.
        ssim: Form of SSIM, see :func:`lit_modules.metrics.similarity.ssim`.

    Raises:
        ValueError: If ``channels`` is neither, ``multiple`` below 1 or ``shave`` negative.
    """

    channels: Literal["y", "rgb"]
    multiple: int = 1
    shave: int = 0
    tiles: Tiles | None = None
    ssim: SsimForm = "per_channel"

    def __post_init__(self) -> None:
        if self.channels not in ("y", "rgb"):
            raise ValueError(f"channels must be y or rgb, got {self.channels!r}")
        if self.multiple < 1:
            raise ValueError(f"multiple must be at least 1, got {self.multiple}")
        if self.shave < 0:
            raise ValueError(f"shave must be at least 0, got {self.shave}")

    def describe(self) -> str:
        """Put the protocol in one line, to stand beside its numbers."""
        parts = [f"{'Y' if self.channels == 'y' else 'all channels jointly'} in 8 bits"]
        if self.multiple > 1:
            parts.append(f"cropped to a multiple of {self.multiple}")
        parts.append(f"{self.shave} border pixels shaved" if self.shave else "no border shaved")
        if self.tiles is not None:
            side, stride = self.tiles
            parts.append(f"images with both sides over {side} in {side}×{side} tiles at stride {stride}")
        window = "11×11 Gaussian σ 1.5 in each channel, valid region"
        if self.ssim == "matlab3d":
            window = "11×11×11 Gaussian σ 1.5 across channels, borders replicated (matlab3d)"
        parts.append(f"SSIM with {window}")
        return f"{'; '.join(parts)}; PSNR at most {MAX_PSNR:g} dB; mean over {'tiles' if self.tiles else 'images'}"

    def metrics(self) -> MetricCollection:
        """Average what :meth:`score` gives: ``psnr_y`` and ``ssim_y``, or ``psnr`` and ``ssim`` of all channels."""
        suffix = "_y" if self.channels == "y" else ""
        means: dict[str, Metric | MetricCollection] = {
            f"psnr{suffix}": MeanScore("psnr"),
            f"ssim{suffix}": MeanScore("ssim"),
        }
        return MetricCollection(means, compute_groups=False)

    @torch.no_grad()
    def score(self, prediction: Tensor, target: Tensor) -> list[list[Score]]:
        """Compare images with their targets, each on its own.

        Args:
            prediction: ``[N, C, H, W]``, nominally in [0, 1].
            target: The same shape.

        Returns:
            For each image its samples: one, or its tiles row by row. NaN in a prediction gives NaN.

        Raises:
            ValueError: If the shapes differ, Y is asked of images of other than 1 or 3 channels, or less than 11×11
                pixels are left of an image.
        """
        check_images(prediction, target)
        if self.channels == "y" and prediction.shape[1] not in (1, 3):
            raise ValueError(f"Y is scored of images with 1 or 3 channels, got {prediction.shape[1]}")
        pairs = zip(torch.split(prediction, 1), torch.split(target, 1), strict=True)
        return [[self._score(*sample) for sample in self._cut_samples(*pair)] for pair in pairs]

    def _cut_samples(self, prediction: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Cut grey levels of one image, whole or tile by tile."""
        levels = self._take_grey_levels(prediction), self._take_grey_levels(target)
        height, width = levels[0].shape[2:]
        if self.tiles is None or min(height, width) <= self.tiles.side:
            yield levels
            return
        side = self.tiles.side
        for top in self.tiles.starts(height):
            for left in self.tiles.starts(width):
                cut = (..., slice(top, top + side), slice(left, left + side))
                yield levels[0][cut], levels[1][cut]

    def _take_grey_levels(self, image: Tensor) -> Tensor:
        """Take whole numbers from 0 to 255 of the part and channels that count, float32, which holds them exactly."""
        height, width = (length - length % self.multiple for length in image.shape[2:])
        part = image[..., self.shave : height - self.shave, self.shave : width - self.shave]
        return torch.cat([self._round(rows).float() for rows in torch.split(part, _ROWS, dim=2)], dim=2)

    def _round(self, image: Tensor) -> Tensor:
        levels = (255 * image.double().clamp(0, 1)).round()
        return rgb_to_y(levels / 255).round() if self.channels == "y" and image.shape[1] == 3 else levels

    def _score(self, prediction: Tensor, target: Tensor) -> Score:
        similarity = ssim(prediction, target, form=self.ssim)
        return Score(psnr(prediction, target).clamp(max=MAX_PSNR).item(), similarity.item())


PROTOCOLS: dict[ProtocolName, EvaluationProtocol] = {
    "realsr_official": EvaluationProtocol("y", multiple=4, tiles=Tiles(1200, 800)),
    "per_image": EvaluationProtocol("y"),
    "sidd": EvaluationProtocol("rgb"),
}


def named_protocol(name: ProtocolName, shave: int = 0, ssim: SsimForm = "per_channel") -> EvaluationProtocol:
    """Find a protocol by the name it has in configurations.

    Args:
        name: ``realsr_official``: as the authors of RealSR score, Y of the image cropped to a multiple of 4, in tiles
            if it is large. ``per_image``: Y of the whole image. ``sidd``: the RGB channels of the whole image.
        shave: Pixels along each border that are left out.
        ssim: Form of SSIM.

    Returns:
        The protocol.

    Raises:
        ValueError: If there is no such name, or ``realsr_official`` is to be altered.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {name!r}")
    if name == "realsr_official" and (shave, ssim) != (0, "per_channel"):
        raise ValueError(
            f"protocol=realsr_official has shave=0 and ssim=per_channel, got {shave} and {ssim}: use per_image"
        )
    return replace(PROTOCOLS[name], shave=shave, ssim=ssim)
