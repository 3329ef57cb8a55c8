"""Noise as steps of a degradation."""

import numpy as np

from datamodules.errors import DataError, check_at_least, refuse
from datamodules.restoration.degradations.camera import add_camera_noise, check_range
from datamodules.restoration.degradations.ranges import as_range
from datamodules.types import Map


class GaussianNoise:
    """White Gaussian noise of one strength all over an image, as denoisers are compared by.

    Args:
        sigma: Standard deviation, where 255 is white: one number, or the smallest and the largest, between which that
            of each image is drawn, each value equally likely. Default: 25.
        clip: Clip to what a file can hold. Default: false, as published results are obtained.

    Raises:
        ValueError: If ``sigma`` is negative or descends.

    Reference:
        K. Zhang et al., Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising, IEEE
        Transactions on Image Processing 26(7), 2017: σ of 15, 25 or 50, or blindly (DnCNN-B) from 0 to 55.
    """

    def __init__(self, sigma: float | tuple[float, float] = 25.0, *, clip: bool = False) -> None:
        self._sigma = as_range("sigma", sigma, 0)
        self._clip = clip

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        """Add noise to an image, float32 ``[H, W, C]``."""
        sigma = np.float32(random.uniform(*self._sigma) / 255)
        noisy: Map = image + sigma * random.standard_normal(image.shape, np.float32)
        return np.clip(noisy, 0, 1) if self._clip else noisy


class CameraNoise:
    """Noise of a camera in little light, as of the sample photographs, see :func:`add_camera_noise`; for RGB images.

    Args:
        gain: Smallest and largest light of one photon, where 1 is what makes a sensor's green white; that of an image
            is drawn in between, its logarithm uniform. Default: 0.0012 to 0.004, PSNR of about 25 to 31 dB.
        variation: How many times weaker and stronger than that the gain becomes within an image. Default: 2.

    Raises:
        ValueError: If ``gain`` does not ascend from above 0 or ``variation`` is below 1.
        DataError: When it is called, if an image has other than three channels.
    """

    def __init__(self, gain: tuple[float, float] = (0.0012, 0.004), *, variation: float = 2.0) -> None:
        check_range("gain", gain)
        check_at_least(1, variation=variation)
        self._gain = gain
        self._variation = variation

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        """Add noise to an image, float32 ``[H, W, 3]``."""
        if image.shape[2] != 3:
            refuse("channels", image.shape[2], "3 for CameraNoise, whose sensor sees red, green and blue", DataError)
        gain = np.exp(random.uniform(*np.log(self._gain)))
        return add_camera_noise(image, (gain / self._variation, self._variation * gain), random)
