"""What cameras do to photographs, imitated: noise of sensors, blur of lenses, loss of resolution.

Images here are sRGB, float32 ``[H, W, 3]``, values in [0, 1]; blur and changes of size take any number of channels. No
degradation is the same all over an image: strength of noise, width and direction of blur change smoothly from place to
place, as they do with lens shading, depth and aberrations.
"""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from datamodules.errors import check_at_least, refuse
from datamodules.types import Map, Pixels

_KNOTS = 4  # along each side of a smooth field
_GRID = 64  # pixels between neighbouring Gaussians of a varying blur, about
_BAYER = ((0, 1), (1, 2))  # which channel each pixel of a 2 × 2 cell sees
# Typical of a camera: how much less sensitive it is to red and blue than to green, and from its colours to sRGB's.
_WHITE_BALANCE = np.array([2.0, 1.0, 1.6], np.float32)
_COLOURS = np.array([[1.6, -0.45, -0.15], [-0.25, 1.45, -0.2], [0.0, -0.5, 1.5]], np.float32)
_READ_NOISE = 1.2  # photons; about what Brooks et al. fitted at the gains in use


def draw_smooth_field(height: int, width: int, low: float, high: float, random: np.random.Generator) -> Map:
    """Draw numbers that change smoothly over an image.

    Args:
        height: Of the image, in pixels.
        width: Its width.
        low: Smallest value; it is reached.
        high: Largest value; it is reached.
        random: Draws a grid of 4 × 4 numbers, between which they are interpolated, bicubic.

    Returns:
        float32 ``[height, width]``.
    """
    knots = random.random((_KNOTS, _KNOTS), np.float32)
    field = cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.interp(field, [field.min(), field.max()], [low, high]).astype(np.float32)


def expose(light: Map, gain: Map | float, read_noise: float, random: np.random.Generator) -> Map:
    """Measure light as a sensor does: count photons, and add the noise of reading them out (Poisson–Gaussian).

    Args:
        light: Light at each pixel, from 0, any shape; 1 is white.
        gain: Light of one photon, above 0; one number or of the same shape.
        read_noise: Standard deviation of the Gaussian noise of reading out, in photons.
        random: Draws the noise.

    Returns:
        What is measured, of the same shape: mean ``light``, variance ``gain · light + (gain · read_noise)²``.
    """
    photons = random.poisson(light / gain) + read_noise * random.standard_normal(light.shape)
    return (gain * photons).astype(np.float32)


def demosaic(mosaic: Map) -> Map:
    """Fill in, bilinear, the two colours that each pixel of a Bayer sensor does not see.

    Args:
        mosaic: One colour at each pixel, in the order RGGB, ``[H, W]``; both sides from 2.

    Returns:
        RGB ``[H, W, 3]``.
    """
    green = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
    others = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4
    seen = _list_channels(*mosaic.shape)
    planes = [
        cv2.filter2D((mosaic * (seen == channel)).astype(np.float32), -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        for channel, kernel in enumerate((others, green, others))
    ]
    return np.stack(planes, -1).astype(np.float32, copy=False)


def add_camera_noise(image: Map, gain: tuple[float, float], random: np.random.Generator) -> Map:
    """Add the noise of a photograph taken in little light.

    Light is measured by a Bayer sensor (:func:`expose`), demosaiced, balanced to white and brought to the colours and
    the tone curve of sRGB. So noise depends on the signal, is stronger in red and blue, and is correlated between
    neighbouring pixels and between channels. ``image`` has gone through all this already, and but for the tone curve
    it is linear, so only the noise goes through it: without noise the result is ``image``, and in linear light it is
    the mean, but for clipping.

    Args:
        image: The clean image.
        gain: Smallest and largest light of one photon, where 1 is what makes a sensor's green white; both are reached.
            In between its logarithm changes smoothly over the image.
        random: Draws gain and noise.

    Returns:
        The noisy image, clipped to [0, 1].

    Raises:
        ValueError: If ``gain`` is not ascending or not above 0.

    Reference:
        T. Brooks et al., Unprocessing Images for Learned Raw Denoising, CVPR 2019: what a camera does in which order,
        and how photon and read noise go together.
    """
    check_range("gain", gain)
    height, width = image.shape[:2]
    light = _to_linear(image)
    seen = np.take_along_axis(light / _WHITE_BALANCE, _list_channels(height, width)[..., None], 2)[..., 0]
    gains = np.exp(draw_smooth_field(height, width, np.log(gain[0]), np.log(gain[1]), random))
    noise = demosaic(expose(seen, gains, _READ_NOISE, random) - seen)
    return _to_srgb((light + noise * _WHITE_BALANCE @ _COLOURS.T).astype(np.float32, copy=False))


def draw_covariances(
    height: int, width: int, sigma: tuple[float, float], stretch: float, random: np.random.Generator
) -> Map:
    """Draw Gaussians whose width, direction and elongation change smoothly over an image.

    Args:
        height: Of the image, in pixels.
        width: Its width.
        sigma: Smallest and largest width, in pixels: the geometric mean of the standard deviations along the two axes.
        stretch: Largest ratio of these, from 1.
        random: Draws them.

    Returns:
        Covariances of (x, y), in pixels², ``[R, C, 2, 2]``: a grid of places for :func:`blur_varyingly`.

    Raises:
        ValueError: If ``sigma`` is not ascending or not above 0, or ``stretch`` is below 1.
    """
    check_range("sigma", sigma)
    check_at_least(1, stretch=stretch)
    rows, columns = (max(2, round(side / _GRID) + 1) for side in (height, width))
    scale = np.exp(draw_smooth_field(rows, columns, np.log(sigma[0]), np.log(sigma[1]), random))
    most = np.log(stretch) / np.sqrt(2)
    a, b = (draw_smooth_field(rows, columns, -most, most, random) for _ in range(2))
    # The exponential of [[a, b], [b, -a]], which has determinant 1 and, unlike an angle, is smooth where circles are.
    size = np.hypot(a, b)
    even, odd = np.cosh(size), np.sinh(size) / np.maximum(size, 1e-9)
    shape = np.array([[even + odd * a, odd * b], [odd * b, even - odd * a]])
    return np.asarray(np.moveaxis(scale**2 * shape, (0, 1), (2, 3)), np.float32)


def make_gaussian(covariance: Map) -> Map:
    """Make a Gaussian filter of any width, direction and elongation.

    Args:
        covariance: Of (x, y), in pixels², ``[2, 2]``. The filter keeps it to one percent where standard deviations
            are 0.7 pixels or more in all directions; narrower ones come out narrower still.

    Returns:
        ``[K, K]``, K odd; reaches four standard deviations, sums to 1.
    """
    reach = int(np.ceil(4 * np.sqrt(np.linalg.eigvalsh(covariance)[-1])))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    place = np.stack([x, y], -1)
    kernel = np.exp(-0.5 * np.einsum("...i,ij,...j", place, np.linalg.inv(covariance), place))
    return np.asarray(kernel / kernel.sum(), np.float32)


def blur_varyingly(image: Map, covariances: Map) -> Map:
    """Blur each part of an image with a Gaussian of its own.

    The Gaussians stand on a grid whose outermost places lie on the image's border pixels. Each filters its
    surroundings, and the results are blended bilinearly. So a pixel's filter is a mixture of the four Gaussians around
    it: its covariance is exactly the bilinear interpolation of theirs, it sums to 1, but it is a Gaussian itself only
    where they agree.

    Args:
        image: The sharp image.
        covariances: Of the Gaussians, as of :func:`draw_covariances`, ``[R, C, 2, 2]``; R and C from 2.

    Returns:
        The blurred image; beyond its borders it is continued as in a mirror.

    Reference:
        M. Hirsch et al., Efficient Filter Flow for Space-Variant Multiframe Blind Deconvolution, CVPR 2010.
    """
    blurred = np.zeros_like(image)
    down, across = (
        _make_hats(side, places) for side, places in zip(image.shape[:2], covariances.shape[:2], strict=True)
    )
    for row, column in np.ndindex(*covariances.shape[:2]):
        kernel = make_gaussian(covariances[row, column])
        reach = len(kernel) // 2
        (top, bottom), (left, right) = (np.flatnonzero(hat)[[0, -1]] for hat in (down[row], across[column]))
        above, before = max(0, top - reach), max(0, left - reach)
        surroundings = image[above : bottom + 1 + reach, before : right + 1 + reach]
        filtered = cv2.filter2D(surroundings, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        filtered = filtered.reshape(surroundings.shape)  # OpenCV drops a single channel
        part = filtered[top - above : bottom + 1 - above, left - before : right + 1 - before]
        weight = np.outer(down[row, top : bottom + 1], across[column, left : right + 1])
        blurred[top : bottom + 1, left : right + 1] += weight[..., None] * part
    return blurred


def reduce_resolution(
    image: Map,
    scale: int,
    sigma: tuple[float, float],
    stretch: float,
    gain: tuple[float, float],
    random: np.random.Generator,
) -> Map:
    """Take the same photograph with a lens of shorter focal length, and enlarge it.

    The image is blurred (:func:`blur_varyingly`), made ``scale`` times smaller, given noise (:func:`add_camera_noise`)
    and enlarged to the size it had; both changes of size are bicubic, the first with antialiasing.

    Args:
        image: The sharp image.
        scale: How many times smaller.
        sigma: Smallest and largest width of the blur, in pixels of the smaller image; see :func:`draw_covariances`.
        stretch: Largest elongation of the blur.
        gain: Smallest and largest gain of the noise.
        random: Draws blur and noise.

    Returns:
        The image of low resolution, ``[H, W, 3]``, clipped to [0, 1].

    Raises:
        ValueError: If ``sigma``, ``stretch`` or ``gain`` is out of range.
    """
    height, width = image.shape[:2]
    in_pixels = sigma[0] * scale, sigma[1] * scale
    blurred = blur_varyingly(image, draw_covariances(height, width, in_pixels, stretch, random))
    small = resize_bicubic(blurred, round(height / scale), round(width / scale))
    return resize_bicubic(add_camera_noise(small, gain, random), height, width)


def to_bytes(image: Map) -> Pixels:
    """Round an image to 8 bits.

    Args:
        image: Any shape; values beyond [0, 1] are clipped.

    Returns:
        uint8, of the same shape.
    """
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def resize_bicubic(image: Map, height: int, width: int) -> Map:
    """Resize an image, bicubic, with antialiasing where it shrinks, as MATLAB's ``imresize``.

    Args:
        image: ``[H, W, C]``, any number of channels.
        height: Of the result, in pixels.
        width: Its width.

    Returns:
        ``[height, width, C]``, clipped to [0, 1].
    """
    channels_first = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = interpolate(channels_first, size=(height, width), mode="bicubic", antialias=True)
    resized_image: Map = resized[0].permute(1, 2, 0).clamp_(0, 1).numpy()
    return resized_image


def check_range(name: str, values: tuple[float, float]) -> None:
    """Refuse a range whose ends do not ascend from above 0; names the argument."""
    if not 0 < values[0] <= values[1]:
        refuse(name, values, "two ascending numbers above 0")


def _list_channels(height: int, width: int) -> npt.NDArray[np.int64]:
    """List which channel each pixel of a sensor sees, ``[height, width]``."""
    return np.tile(np.array(_BAYER), (height // 2 + 1, width // 2 + 1))[:height, :width]


def _make_hats(side: int, places: int) -> Map:
    """Make weights of linear interpolation between places, the outermost on the borders: ``[places, side]``."""
    position = np.linspace(0, places - 1, side)
    weights: Map = np.maximum(0, 1 - np.abs(position - np.arange(places)[:, None])).astype(np.float32)
    return weights


def _to_linear(image: Map) -> Map:
    """Turn values of sRGB (IEC 61966-2-1) into light."""
    light: Map = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    return light


def _to_srgb(light: Map) -> Map:
    """Turn light, clipped to [0, 1], into values of sRGB: the inverse of :func:`_to_linear`."""
    light = np.clip(light, 0, 1)
    image: Map = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return image
