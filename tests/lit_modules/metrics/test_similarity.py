import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from lit_modules.metrics import psnr, ssim


def pair(*shape: int, noise: float = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Smooth grey levels from 0 to 255, and the same with noise, both whole numbers."""
    generator = np.random.default_rng(seed)
    smooth = gaussian_filter(generator.standard_normal(shape), 2, axes=(2, 3))
    target = np.round(127 + 60 * smooth / smooth.std()).clip(0, 255)
    prediction = np.round(target + noise * generator.standard_normal(shape)).clip(0, 255)
    return torch.from_numpy(prediction).float(), torch.from_numpy(target).float()


def valid_ssim(prediction: Tensor, target: Tensor, peak: float = 255) -> float:
    """scikit-image's mean over the channels of one image; it leaves out the border of five pixels itself."""
    p, t = (image.double().numpy() for image in (prediction, target))
    return float(
        structural_similarity(
            p, t, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=peak
        )
    )


def volume_ssim(prediction: Tensor, target: Tensor, peak: float = 255) -> float:
    """SSIM of an array filtered along all its axes, with SciPy."""

    def filtered(volume: NDArray[np.float64]) -> NDArray[np.float64]:
        return gaussian_filter(volume, 1.5, mode="nearest", radius=5)

    p, t = (image.double().numpy() for image in (prediction, target))
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mp, mt = filtered(p), filtered(t)
    vp, vt, cov = filtered(p * p) - mp * mp, filtered(t * t) - mt * mt, filtered(p * t) - mp * mt
    return float(((2 * mp * mt + c1) * (2 * cov + c2) / ((mp**2 + mt**2 + c1) * (vp + vt + c2))).mean())


def test_psnr_by_hand() -> None:
    target = torch.full((2, 3, 4, 4), 100.0)
    prediction = target.clone()
    prediction[0] += 10
    prediction[1, 1] += 3  # a third of the values: MSE 9/3
    assert psnr(prediction, target).tolist() == pytest.approx([28.1308036, 10 * math.log10(65025 / 3)], abs=1e-6)
    assert psnr(prediction / 255, target / 255, peak=1).tolist() == pytest.approx(psnr(prediction, target).tolist())


def test_psnr_of_identical_images_is_infinite() -> None:
    assert psnr(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)).item() == math.inf


@pytest.mark.parametrize("shape", [(3, 3, 24, 17), (1, 1, 600, 30)])
def test_psnr_agrees_with_scikit_image(shape: tuple[int, ...]) -> None:
    prediction, target = pair(*shape)
    expected = [
        peak_signal_noise_ratio(t.numpy(), p.numpy(), data_range=255) for p, t in zip(prediction, target, strict=True)
    ]
    assert psnr(prediction, target).tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("form", ["per_channel", "matlab3d"])
def test_ssim_of_flat_images_compares_their_means(form: str) -> None:
    low, high = torch.full((1, 3, 12, 13), 50.0), torch.full((1, 3, 12, 13), 200.0)
    c1 = 2.55**2
    expected = (2 * 50 * 200 + c1) / (50**2 + 200**2 + c1)
    assert ssim(low, high, form=form).item() == pytest.approx(expected, abs=1e-10)  # type: ignore[arg-type]
    assert ssim(low, low, form=form).item() == pytest.approx(1, abs=1e-10)  # type: ignore[arg-type]


def test_ssim_of_one_bright_pixel_by_hand() -> None:
    """One window: its mean is w · 255 and its mean square w · 255², where w is the Gaussian's central weight."""
    dark, bright = torch.zeros(1, 1, 11, 11), torch.zeros(1, 1, 11, 11)
    bright[0, 0, 5, 5] = 255
    w = sum(math.exp(-(i**2) / 4.5) for i in range(-5, 6)) ** -2
    c1, c2 = 2.55**2, 7.65**2
    mean, variance = 255 * w, 255**2 * (w - w**2)
    expected = c1 / (mean**2 + c1) * c2 / (variance + c2)
    assert ssim(bright, dark).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 40, 33), (1, 1, 11, 11), (1, 3, 11, 60), (1, 1, 1100, 1000)])
def test_ssim_agrees_with_scikit_image(shape: tuple[int, ...]) -> None:
    """The last shape is filtered in several strips."""
    prediction, target = pair(*shape)
    expected = [valid_ssim(p, t) for p, t in zip(prediction, target, strict=True)]
    assert ssim(prediction, target).tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 30, 21), (1, 1, 11, 11), (1, 3, 800, 500)])
def test_ssim_of_volumes_agrees_with_scipy(shape: tuple[int, ...]) -> None:
    prediction, target = pair(*shape)
    expected = [volume_ssim(p, t) for p, t in zip(prediction, target, strict=True)]
    assert ssim(prediction, target, form="matlab3d").tolist() == pytest.approx(expected, abs=1e-9)


def test_ssim_of_bright_images_with_little_contrast_does_not_cancel() -> None:
    prediction, target = (250 + image / 500 for image in pair(1, 1, 32, 32, noise=30))
    assert ssim(prediction, target).item() == pytest.approx(valid_ssim(prediction[0], target[0]), abs=1e-9)


def test_ssim_of_images_from_0_to_1() -> None:
    prediction, target = pair(1, 3, 20, 20)
    assert ssim(prediction / 255, target / 255, peak=1).item() == pytest.approx(ssim(prediction, target).item())


def test_images_smaller_than_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="SSIM needs images of at least 11×11 pixels, got 40×10"):
        ssim(torch.zeros(1, 3, 40, 10), torch.zeros(1, 3, 40, 10))


def test_other_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="form must be one of per_channel, matlab3d, got 'matlab3D'"):
        ssim(torch.zeros(1, 3, 11, 11), torch.zeros(1, 3, 11, 11), form="matlab3D")  # type: ignore[arg-type]


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize("shapes", [((1, 3, 20, 20), (1, 1, 20, 20)), ((3, 20, 20), (3, 20, 20))])
def test_images_that_cannot_be_compared_are_refused(measure: object, shapes: tuple[tuple[int, ...], ...]) -> None:
    assert callable(measure)
    with pytest.raises(ValueError, match=r"must have one shape \[N, C, H, W\], got \["):
        measure(*map(torch.zeros, shapes))
