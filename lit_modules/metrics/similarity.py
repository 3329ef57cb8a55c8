"""PSNR and SSIM as MATLAB computes them, in double precision and in memory that large images do not exhaust."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

SsimForm = Literal["per_channel", "matlab3d"]

_RADIUS = 5
_SIGMA = 1.5
_WINDOW = 2 * _RADIUS + 1
_K1, _K2 = 0.01, 0.03
_PSNR_ROWS = 256
_STRIP_VALUES = 2**19  # of one image, filtered at a time: 4 MB a map


def check_images(prediction: Tensor, target: Tensor) -> None:
    """Make sure that two batches of images can be compared.

    Raises:
        ValueError: If they are not ``[N, C, H, W]`` of the same shape.
    """
    if prediction.dim() != 4 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must have one shape [N, C, H, W], got {list(prediction.shape)} and "
            f"{list(target.shape)}"
        )


def psnr(prediction: Tensor, target: Tensor, peak: float = 255.0) -> Tensor:
    """Peak signal-to-noise ratio of each image: 10 log₁₀(peak² / MSE), the MSE over all channels jointly.

    Args:
        prediction: ``[N, C, H, W]``.
        target: The same shape.
        peak: Largest possible value of a pixel, 255 or 1.

    Returns:
        Decibels, float64 ``[N]``; infinite where prediction and target are identical.

    Raises:
        ValueError: If the shapes differ.
    """
    check_images(prediction, target)
    parts = zip(*(torch.split(images, _PSNR_ROWS, dim=2) for images in (prediction, target)), strict=True)
    squared_error = torch.stack([(p.double() - t.double()).square().sum((1, 2, 3)) for p, t in parts]).sum(0)
    return 10 * torch.log10(peak**2 * math.prod(prediction.shape[1:]) / squared_error)


def ssim(prediction: Tensor, target: Tensor, peak: float = 255.0, form: SsimForm = "per_channel") -> Tensor:
    """Structural similarity of each image, with a Gaussian window of 11 taps a side and σ 1.5, K = (0.01, 0.03).

    Variances and covariances are those of the window's population, weighted by the Gaussian.

    Args:
        prediction: ``[N, C, H, W]``.
        target: The same shape.
        peak: Largest possible value of a pixel, 255 or 1.
        form: ``per_channel``: an 11×11 window in each channel, at the positions where it lies within the image, as in
            the authors' ``ssim_index.m``; mean over positions and channels. ``matlab3d``: MATLAB's ``ssim`` of an
            H×W×C array, which it takes for a volume: an 11×11×11 window that reaches across the channels too, at every
            position, the array's outermost values repeated beyond its borders; mean over all positions.

    Returns:
        Float64 ``[N]``, at most 1.

    Raises:
        ValueError: If the shapes differ, the images are smaller than the window, or there is no such form.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, *Image Quality Assessment: From Error Visibility to Structural Similarity*,
        IEEE Transactions on Image Processing 13(4), 2004, equation 13.
    """
    check_images(prediction, target)
    if form not in get_args(SsimForm):
        raise ValueError(f"form must be one of {', '.join(get_args(SsimForm))}, got {form!r}")
    height, width = prediction.shape[2:]
    if min(height, width) < _WINDOW:
        raise ValueError(f"SSIM needs images of at least {_WINDOW}×{_WINDOW} pixels, got {height}×{width}")
    values = [_compute_mean_ssim(p, t, peak, form) for p, t in zip(prediction, target, strict=True)]
    return torch.tensor(values, dtype=torch.float64, device=prediction.device)


def _compute_mean_ssim(prediction: Tensor, target: Tensor, peak: float, form: SsimForm) -> float:
    """Take SSIM of an image ``[C, H, W]``, strip by strip; the sum over rows is exact, in whatever strips they come."""
    channels, height, width = prediction.shape
    border, dims = (_RADIUS, (0, 1, 2)) if form == "matlab3d" else (0, (1, 2))
    positions = height + 2 * border - 2 * _RADIUS
    rows = max(_WINDOW, _STRIP_VALUES // (channels * width))
    row_means: list[float] = []
    for top in range(0, positions, rows):
        first, last = top - border, min(top + rows, positions) - border + 2 * _RADIUS
        p, t = (_take(image, 1, first, last).double() for image in (prediction, target))
        if form == "matlab3d":
            p, t = (_take(strip, 2, -border, width + border) for strip in (p, t))
            p, t = (_take(strip, 0, -border, channels + border) for strip in (p, t))
        row_means += _map_ssim(p, t, peak, dims).mean(-1).flatten().tolist()
    return math.fsum(row_means) / len(row_means)


def _take(image: Tensor, dim: int, first: int, last: int) -> Tensor:
    """Take indices ``first`` to before ``last`` of a dimension; those beyond the image stand for its outermost ones."""
    index = torch.arange(first, last, device=image.device).clamp(0, image.shape[dim] - 1)
    return image.index_select(dim, index)


def _map_ssim(prediction: Tensor, target: Tensor, peak: float, dims: Sequence[int]) -> Tensor:
    """Compute SSIM wherever the window lies within the images, which it does along ``dims``."""
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    mean_p, mean_t = _blur(prediction, dims), _blur(target, dims)
    product_of_means, squares_of_means = mean_p * mean_t, mean_p.square() + mean_t.square()
    covariance = _blur(prediction * target, dims) - product_of_means
    variances = _blur(prediction.square() + target.square(), dims) - squares_of_means
    return (2 * product_of_means + c1) * (2 * covariance + c2) / ((squares_of_means + c1) * (variances + c2))


def _blur(image: Tensor, dims: Sequence[int]) -> Tensor:
    """Apply a Gaussian window along each dimension in turn; in double precision faster than a convolution."""
    bell = [math.exp(-((i - _RADIUS) ** 2) / (2 * _SIGMA**2)) for i in range(_WINDOW)]
    for dim in dims:
        size = image.shape[dim] - 2 * _RADIUS
        total = torch.zeros_like(image.narrow(dim, 0, size))
        for i, weight in enumerate(bell):
            total.add_(image.narrow(dim, i, size), alpha=weight / math.fsum(bell))
        image = total
    return image
