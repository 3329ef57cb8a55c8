"""Kernel prediction networks: they restore an image by a filter of its own for every pixel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda.models.padding import pad_to_multiple
from acda.models.plain import draw_he
from acda.models.pyramid import collapse_pyramid, laplacian_pyramid


def filter_per_pixel(image: Tensor, kernels: Tensor) -> Tensor:
    """Filter an image, at each pixel with another kernel.

    ``output[n, c, p] = Σ_u kernels[n, c·l² + u, p] · image[n, c, p + u]``, u over the l × l offsets around a pixel,
    row by row. Beyond its border the image continues by its last rows and columns.

    Args:
        image: ``[N, C, H, W]``.
        kernels: ``[N, C·l², H, W]``, l odd.

    Returns:
        ``[N, C, H, W]``.
    """
    channels, height, width = image.shape[1:]
    taps = torch.unflatten(kernels, 1, (channels, -1)).unbind(2)  # unbound at once, their gradients are stacked at once
    side = round(len(taps) ** 0.5)
    padded = F.pad(image, [side // 2] * 4, mode="replicate")
    output = torch.zeros_like(image)
    for index, tap in enumerate(taps):
        row, column = divmod(index, side)
        output = torch.addcmul(output, tap, padded[..., row : row + height, column : column + width])
    return output


class _Block(nn.Module):
    """Convolution → ReLU → convolution, plus the shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _convolution(width, width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _convolution(width, width, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.conv2(self.relu(self.conv1(x)))
        return output


class _KernelNetwork(nn.Module):
    """Residual blocks without norm on a quarter of the resolution, and predictors of kernels on what they give.

    Args:
        kernel_size: Side l of the kernels.
        channels: Channels of the image.
        width: Channels of the features.
        depth: Residual blocks.
        scales: For each predictor, its resolution over that of the features.
    """

    def __init__(self, kernel_size: int, channels: int, width: int, depth: int, scales: Sequence[int]) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        if width < 1 or width % 16:
            raise ValueError(f"width must be a multiple of 16, got {width}")
        self.total_stride = 4
        self.output_stride = 1
        self.head = nn.Sequential(nn.PixelUnshuffle(4), _convolution(16 * channels, width))
        self.body = nn.Sequential(*(_Block(width) for _ in range(depth)), _convolution(width, width, zero=True))
        self.kernels = nn.ModuleList(_predictor(scale, width, channels, kernel_size) for scale in scales)

    def features(self, image: Tensor) -> Tensor:
        """Features of an image of any size, ``[N, width, ⌈H / 4⌉, ⌈W / 4⌉]``."""
        first = self.head(pad_to_multiple(image, self.total_stride, "replicate"))
        features: Tensor = first + self.body(first)
        return features

    def filter(self, image: Tensor, features: Tensor, predictor: nn.Module) -> Tensor:
        """Filter an image, or a band of one, with the kernels predicted from features."""
        kernels = predictor(features)[..., : image.shape[2], : image.shape[3]]
        return filter_per_pixel(image, kernels)


class KPN(_KernelNetwork):
    """Predicts one kernel for each pixel (and channel) and filters the image with it.

    The image is pixel-unshuffled by 4, features come from residual blocks without norm, and are pixel-shuffled by 4 to
    kernels at the image's resolution. It is continued by its last rows and columns, to a multiple of 4 for the features
    and by half a kernel for the filtering, so it may be of any size.

    Weights are drawn as published, by the method of He et al., but for the last convolution of each residual block and
    of the features, drawn as zeros, and the predictor's last, from which every pixel gets the kernel that changes
    nothing. The published draw triples the variance in each block: its first output is thousands of times the image.

    Args:
        kernel_size: Side l of the kernels in pixels, odd: the paper compares 5 and 19.
        channels: Channels of the image: 1, the luminance, as published.
        width: Channels of the features, a multiple of 16.
        depth: Residual blocks.

    Shape:
        Image and output ``[N, channels, H, W]``, H and W at least 1.

    Attributes:
        total_stride: Pixels by which an image may be moved so that its features move by whole pixels: 4.
        output_stride: 1.

    Raises:
        ValueError: If ``kernel_size`` is even or ``width`` no multiple of 16.

    Reference:
        Mildenhall et al., *Burst Denoising with Kernel Prediction Networks*, CVPR 2018; for single images, with these
        layers: Cai, Zeng, Yong, Cao, Zhang, *Toward Real-World Single Image Super-Resolution: A New Benchmark and a New
        Model*, ICCV 2019. 1,281,625 parameters with l = 5, 1,475,497 with l = 19.
    """

    def __init__(self, kernel_size: int = 5, channels: int = 1, width: int = 64, depth: int = 16) -> None:
        super().__init__(kernel_size, channels, width, depth, scales=(4,))

    def forward(self, image: Tensor) -> Tensor:
        """Restore an image."""
        return self.filter(image, self.features(image), self.kernels[0])


class LPKPN(_KernelNetwork):
    """Predicts kernels for the pixels of a Laplacian pyramid's three bands, which are filtered and summed.

    As :class:`KPN`, with three predictors on the same features: of kernels at the image's resolution, at half and at
    a quarter of it. At first none of them changes anything.

    Args:
        kernel_size: Side of the kernels in pixels, odd.
        channels: Channels of the image: 1, the luminance, as published.
        width: Channels of the features, a multiple of 16.
        depth: Residual blocks.

    Shape:
        Image and output ``[N, channels, H, W]``, H and W at least 1.

    Attributes:
        total_stride: Pixels by which an image may be moved so that its features move by whole pixels: 4.
        output_stride: 1.

    Raises:
        ValueError: If ``kernel_size`` is even or ``width`` no multiple of 16.

    Reference:
        Cai, Zeng, Yong, Cao, Zhang, *Toward Real-World Single Image Super-Resolution: A New Benchmark and a New Model*,
        ICCV 2019. 1,430,539 parameters.
    """

    def __init__(self, kernel_size: int = 5, channels: int = 1, width: int = 64, depth: int = 16) -> None:
        super().__init__(kernel_size, channels, width, depth, scales=(4, 2, 1))

    def levels(self, image: Tensor) -> list[Tensor]:
        """Filter the bands of an image.

        Args:
            image: ``[N, channels, H, W]``.

        Returns:
            Three bands in the shapes of :func:`acda.models.laplacian_pyramid`, the finest first. The published loss
            compares each with the band of the true image.
        """
        features = self.features(image)
        bands = laplacian_pyramid(image, len(self.kernels))
        return [self.filter(band, features, predictor) for band, predictor in zip(bands, self.kernels, strict=True)]

    def forward(self, image: Tensor) -> Tensor:
        """Restore an image."""
        return collapse_pyramid(self.levels(image))


def _predictor(scale: int, width: int, channels: int, kernel_size: int) -> nn.Sequential:
    """Predicts kernels from features, at ``scale`` times their resolution; at first those that change nothing."""
    last = _convolution(width, channels * kernel_size**2, zero=True)
    assert last.bias is not None
    last.bias.detach().view(channels, -1)[:, kernel_size**2 // 2] = 1
    return nn.Sequential(
        nn.PixelShuffle(scale),
        _convolution(width // scale**2, width),
        nn.ReLU(inplace=True),
        _convolution(width, width),
        nn.ReLU(inplace=True),
        last,
    )


def _convolution(in_channels: int, out_channels: int, zero: bool = False) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    draw_he(convolution)
    if zero:
        nn.init.zeros_(convolution.weight)
    return convolution
