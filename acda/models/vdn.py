"""Variational denoising: a network for the image, one for its noise, and the distributions they describe."""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.models.padding import pad_to_multiple
from acda.models.plain import draw_he, plain_convolutions

_LOWEST, _HIGHEST = math.log(1e-8), math.log(1e4)
_leaky = partial(nn.LeakyReLU, 0.2, inplace=True)


class DNet(nn.Module):
    """The published denoiser: a U-Net without norm.

    The image is continued by its last rows and columns to a multiple of the total stride and the result is cropped, so
    it may be of any size. Weights are drawn as published: of the convolutions by the method of He et al., of the
    transposed ones PyTorch's own draw.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the output, twice as many.
        widths: Channels of each level, the finest first.

    Shape:
        Image ``[N, in_channels, H, W]``, output ``[N, out_channels, H, W]``, H and W at least 1.

    Attributes:
        total_stride: Pixels by which an image may be moved so that its features move by whole pixels: 8, with four
            levels.
        output_stride: 1.

    Raises:
        ValueError: If there are no ``widths``.

    Reference:
        Yue, Yong, Zhao, Zhang, Meng, *Variational Denoising Network: Toward Blind Noise Modeling and Removal*, NeurIPS
        2019; after Ronneberger, Fischer, Brox, *U-Net*, MICCAI 2015. 7,700,742 parameters.
    """

    def __init__(
        self, in_channels: int = 3, out_channels: int = 6, widths: Sequence[int] = (64, 128, 256, 512)
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths must have at least one number, got none")
        self.total_stride = 2 ** (len(widths) - 1)
        self.output_stride = 1
        inputs = [in_channels, *widths[:-1]]
        self.down = nn.ModuleList(_level(*channels) for channels in zip(inputs, widths, strict=True))
        steps = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, width, 2, stride=2) for deep, width in steps)
        self.merge = nn.ModuleList(_level(2 * width, width) for _, width in steps)
        self.last = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        draw_he(self)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the residual and the logarithm of its variance, channel after channel."""
        height, width = image.shape[2:]
        x = self.down[0](pad_to_multiple(image, self.total_stride, "replicate"))
        passed = []
        for level in self.down[1:]:
            passed.append(x)
            x = level(F.avg_pool2d(x, 2))
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), passed.pop()], dim=1))
        output: Tensor = self.last(x)
        return output[..., :height, :width]


class SNet(nn.Module):
    """The published estimator of noise: a chain of 3×3 convolutions with LeakyReLU(0.2).

    Weights are drawn as published, by the method of He et al.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the output, twice as many.
        width: Channels between convolutions.
        depth: Convolutions, at least 2.

    Shape:
        Image ``[N, in_channels, H, W]``, output ``[N, out_channels, H, W]``.

    Attributes:
        total_stride: 1.
        output_stride: 1.

    Raises:
        ValueError: If ``depth`` is below 2.

    Reference:
        As :class:`DNet`. 116,038 parameters.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 6, width: int = 64, depth: int = 5) -> None:
        super().__init__()
        self.total_stride = 1
        self.output_stride = 1
        self.body = plain_convolutions(in_channels, out_channels, width, depth, _leaky)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logarithms of α and β, channel after channel."""
        output: Tensor = self.body(image)
        return output


class Posterior(NamedTuple):
    """What is believed of a clean image z and of the variance σ² of its noise, given the noisy image y.

    For each pixel and channel z is normal with mean y − r and variance m², and σ² is inverse-gamma with shape α and
    scale β. All are ``[N, C, H, W]``; the logarithms lie in [ln 1e-8, ln 1e4].
    """

    residual: Tensor
    """r, what is subtracted from the noisy image."""
    log_m2: Tensor
    """ln m²."""
    log_alpha: Tensor
    """ln α."""
    log_beta: Tensor
    """ln β."""


class VariationalDenoiser(nn.Module):
    """Denoises by the mean of the posterior that two networks describe.

    Args:
        denoiser: Gives r and ln m², ``[N, 2C, H, W]``: :class:`DNet`, or a :class:`acda.models.Restorer` with
            ``out_channels`` of 2C and ``residual=False``. It has an attribute ``total_stride``.
        noise_estimator: Gives ln α and ln β, ``[N, 2C, H, W]``: :class:`SNet`. Only needed to train.

    Shape:
        Image and output ``[N, C, H, W]``.

    Attributes:
        total_stride: The denoiser's.
        output_stride: 1.

    Raises:
        ValueError: When applied, if a network gives another number of channels.

    Reference:
        Yue, Yong, Zhao, Zhang, Meng, *Variational Denoising Network: Toward Blind Noise Modeling and Removal*, NeurIPS
        2019, section 3.
    """

    def __init__(self, denoiser: nn.Module, noise_estimator: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.noise_estimator = noise_estimator
        self.total_stride = denoiser.total_stride
        self.output_stride = 1

    def forward(self, image: Tensor) -> Tensor:
        """Denoise an image, without clamping: the mean y − r."""
        residual, _ = _halves(self.denoiser, image)
        return image - residual

    def posterior(self, image: Tensor) -> Posterior:
        """Describe the clean image and its noise.

        Args:
            image: Noisy image ``[N, C, H, W]``.

        Returns:
            The posterior.
        """
        residual, log_m2 = _halves(self.denoiser, image)
        log_alpha, log_beta = _halves(self.noise_estimator, image)
        bounded = (logarithm.clamp(_LOWEST, _HIGHEST) for logarithm in (log_m2, log_alpha, log_beta))
        return Posterior(residual, *bounded)


def _level(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        _leaky(),
        nn.Conv2d(width, width, 3, padding=1),
        _leaky(),
    )


def _halves(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    """Cut what a network gives for an image into two with the image's channels each."""
    output: Tensor = network(image)
    channels = image.shape[1]
    if output.shape[1] != 2 * channels:
        raise ValueError(
            f"{type(network).__name__} must give {2 * channels} channels, twice the image's, got {output.shape[1]}: "
            f"set out_channels={2 * channels} (and of a Restorer residual=False)"
        )
    first, second = output.chunk(2, dim=1)
    return first, second
