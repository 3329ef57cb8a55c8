from collections.abc import Callable

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.color import rgb2xyz
from skimage.color.colorconv import xyz_from_rgb

from datamodules.restoration.degradations import (
    add_camera_noise,
    blur_varyingly,
    demosaic,
    draw_covariances,
    draw_smooth_field,
    expose,
    make_gaussian,
    reduce_resolution,
    to_bytes,
)
from datamodules.types import Map


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def grey(value: float, height: int = 200, width: int = 200) -> Map:
    return np.full((height, width, 3), value, np.float32)


def in_linear_light(image: Map) -> Map:
    """What scikit-image takes sRGB for."""
    return (rgb2xyz(image) @ np.linalg.inv(xyz_from_rgb.T)).astype(np.float32)


def autocorrelation(plane: Map, lag: int) -> float:
    return float(np.corrcoef(plane[:, lag:].ravel(), plane[:, :-lag].ravel())[0, 1])


def photograph(height: int = 96, width: int = 120) -> Map:
    return seeded(5).random((height, width, 3), np.float32)


def test_smooth_field_spans_its_range_without_jumps() -> None:
    field = draw_smooth_field(90, 120, 2, 5, seeded())
    assert (field.shape, field.dtype) == ((90, 120), np.float32)
    assert (field.min(), field.max()) == (2, 5)
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in (0, 1)) < 0.2


@pytest.mark.parametrize("light", [0, 0.05, 0.5])
@pytest.mark.parametrize(("gain", "read_noise"), [(0.01, 0), (0.01, 3), (0.001, 1.5)])
def test_exposure_has_the_mean_and_variance_of_the_formula(light: float, gain: float, read_noise: float) -> None:
    measured = expose(np.full((400, 500), light, np.float32), gain, read_noise, seeded())
    variance = gain * light + (gain * read_noise) ** 2
    assert measured.mean() == pytest.approx(light, abs=5 * np.sqrt(variance / measured.size))
    assert measured.var() == pytest.approx(variance, rel=0.02)


def test_exposure_takes_a_gain_for_each_pixel() -> None:
    gain = np.repeat(np.array([[0.001], [0.016]], np.float32), 100_000, 1)
    dark, bright = expose(np.full_like(gain, 0.5), gain, 0, seeded())
    assert bright.var() / dark.var() == pytest.approx(16, rel=0.03)


def test_demosaicing_is_opencvs_inside() -> None:
    mosaic = seeded().integers(0, 2**14, (31, 40)).astype(np.uint16) * 4  # multiples of 4: exact in integers
    expected = cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2RGB)
    np.testing.assert_array_equal(demosaic(mosaic.astype(np.float32))[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_demosaicing_keeps_a_plain_colour_up_to_the_borders() -> None:
    colour = np.array([0.25, 0.5, 0.75], np.float32)
    mosaic = np.tile(np.array([[0.25, 0.5], [0.5, 0.75]], np.float32), (5, 6))
    np.testing.assert_array_equal(demosaic(mosaic), np.broadcast_to(colour, (10, 12, 3)))


def test_demosaiced_noise_is_correlated_as_its_filter_says() -> None:
    noise = demosaic(seeded().standard_normal((600, 600)).astype(np.float32))
    # Of the filter (1, 2, 1)/2 along a row: 1.5 at lag 0, 1 at lag 1, 0.25 at lag 2.
    for channel in (0, 2):
        assert autocorrelation(noise[..., channel], 1) == pytest.approx(2 / 3, abs=0.02)
        assert autocorrelation(noise[..., channel], 2) == pytest.approx(1 / 6, abs=0.02)
        assert autocorrelation(noise[..., channel], 3) == pytest.approx(0, abs=0.02)


def test_camera_noise_is_correlated_in_space_and_between_channels() -> None:
    noise = add_camera_noise(grey(0.5, 400, 400), (0.002, 0.002), seeded()) - 0.5
    assert all(autocorrelation(noise[..., channel], 1) > 0.3 for channel in range(3))
    assert all(abs(autocorrelation(noise[..., channel], 8)) < 0.03 for channel in range(3))
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max() > 0.1


def test_camera_noise_keeps_the_mean_in_linear_light_and_its_variance_grows_linearly() -> None:
    light = np.array([0.1, 0.2, 0.4])
    levels = 1.055 * light ** (1 / 2.4) - 0.055
    noisy = [in_linear_light(add_camera_noise(grey(level, 500, 500), (2e-4, 2e-4), seeded())) for level in levels]
    np.testing.assert_allclose([image.mean((0, 1)) for image in noisy], np.stack([light] * 3, 1), rtol=2e-3)
    low, middle, high = (image.var((0, 1)) for image in noisy)
    np.testing.assert_allclose(high - middle, 2 * (middle - low), rtol=0.06)


def test_gain_varies_over_the_image() -> None:
    def spread(gain: tuple[float, float]) -> float:
        noise = add_camera_noise(grey(0.5, 400, 400), gain, seeded()) - 0.5
        deviation = np.sqrt(uniform_filter(noise[..., 1] ** 2, 40))
        return float(deviation.max() / deviation.min())

    assert spread((0.001, 0.001)) < 1.4
    assert spread((0.0005, 0.008)) == pytest.approx(4, rel=0.2)  # root of 16


@pytest.mark.parametrize("covariance", [[[0.49, 0], [0, 0.49]], [[9, 0], [0, 1]], [[4, -2.5], [-2.5, 3]]])
def test_gaussian_has_its_covariance(covariance: list[list[float]]) -> None:
    kernel = make_gaussian(np.array(covariance, np.float32))
    y, x = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1)
    moments = [[(kernel * x * x).sum(), (kernel * x * y).sum()], [(kernel * y * x).sum(), (kernel * y * y).sum()]]
    np.testing.assert_allclose(moments, covariance, atol=0.01 * np.max(covariance))


def test_same_gaussian_everywhere_is_scipys() -> None:
    covariances = np.tile(np.diag([1.5**2, 0.8**2]).astype(np.float32), (3, 4, 1, 1))
    expected = gaussian_filter(photograph(), (0.8, 1.5, 0), mode="mirror", truncate=8)
    np.testing.assert_allclose(blur_varyingly(photograph(), covariances), expected, atol=2e-4)


def test_drawn_covariances_stay_in_their_ranges_and_turn() -> None:
    covariances = draw_covariances(600, 800, (1, 3), 2.5, seeded()).astype(np.float64)
    width = np.linalg.det(covariances) ** 0.25
    assert (width.min(), width.max()) == (pytest.approx(1, rel=1e-3), pytest.approx(3, rel=1e-3))
    short, long = np.moveaxis(np.sqrt(np.linalg.eigvalsh(covariances)), -1, 0)
    assert 1.5 < (long / short).max() <= 2.5
    assert (covariances[..., 0, 1].min() < 0) & (covariances[..., 0, 1].max() > 0)
    assert (np.diff(covariances[..., [0, 1], [0, 1]]).min() < 0) & (np.diff(covariances[..., [0, 1], [0, 1]]).max() > 0)


def test_each_pixels_filter_has_the_interpolated_covariance() -> None:
    covariances = draw_covariances(100, 130, (1, 2), 2, seeded())
    y, x = np.mgrid[-50:50, -65:65]
    # A centred filter adds its variance to the square of a coordinate.
    products = np.stack([x * x, x * y, y * y], -1)
    measured = blur_varyingly(products.astype(np.float32), covariances) - products
    rows, columns = (
        np.linspace(0, places - 1, side) for side, places in zip((100, 130), covariances.shape, strict=False)
    )
    for row in (20, 41, 60, 79):
        for column in (20, 47, 66, 109):
            (top, down), (left, right) = divmod(rows[row], 1), divmod(columns[column], 1)
            corners = covariances[int(top) : int(top) + 2, int(left) : int(left) + 2]
            expected = np.einsum("r,c,rcij", (1 - down, down), (1 - right, right), corners)
            np.testing.assert_allclose(measured[row, column], expected.ravel()[[0, 1, 3]], atol=0.03)


def test_an_impulse_spreads_as_far_as_stated_at_several_places() -> None:
    places = np.array([[[[4, 0], [0, 1]], [[4, 1.5], [1.5, 4]]], [[[1, 0], [0, 1]], [[1, 0], [0, 6]]]], np.float32)
    for row, column in ((30, 30), (30, 170), (100, 100), (170, 30), (170, 170)):
        image = np.zeros((201, 201, 3), np.float32)
        image[row, column] = 1
        spread = blur_varyingly(image, places)[..., 0]
        y, x = np.mgrid[:201, :201] - np.array([row, column])[:, None, None]
        down, right = row / 200, column / 200
        expected = np.einsum("r,c,rcij", (1 - down, down), (1 - right, right), places)
        moments = np.array([[(spread * a * b).sum() for a in (x, y)] for b in (x, y)]) / spread.sum()
        assert spread.sum() == pytest.approx(1, abs=0.03)
        np.testing.assert_allclose(moments, expected, atol=0.15)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_low_resolution_keeps_size_colour_and_place_but_no_detail(scale: int) -> None:
    rows, columns = np.mgrid[:95, :121]
    slope = np.stack([0.2 + rows / 200, 0.2 + columns / 250, np.full(rows.shape, 0.4)], -1).astype(np.float32)
    blurred = reduce_resolution(slope, scale, (0.3, 0.6), 2, (1e-7, 1e-7), seeded())
    assert (blurred.shape, blurred.dtype) == (slope.shape, np.float32)
    margin = slice(5 * scale, -5 * scale)
    np.testing.assert_allclose(blurred[margin, margin], slope[margin, margin], atol=0.004)
    checks = np.repeat(((rows + columns) % 2)[..., None], 3, -1).astype(np.float32)
    assert reduce_resolution(checks, scale, (0.3, 0.6), 2, (1e-7, 1e-7), seeded())[margin, margin].std() < 0.05


@pytest.mark.parametrize(
    "degrade",
    [
        lambda image, random: add_camera_noise(image, (0.001, 0.004), random),
        lambda image, random: reduce_resolution(image, 2, (0.3, 0.6), 2, (1e-5, 4e-5), random),
    ],
)
def test_seed_decides_the_degradation(degrade: Callable[[Map, np.random.Generator], Map]) -> None:
    first, again, other = (degrade(photograph(), seeded(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert 0 <= first.min() < first.max() <= 1


def test_bytes_are_clipped_and_rounded() -> None:
    values = np.array([-0.1, 0, 0.4 / 255, 0.6 / 255, 127.5001 / 255, 1, 1.1], np.float32)
    assert to_bytes(values).tolist() == [0, 0, 0, 1, 128, 255, 255]


@pytest.mark.parametrize("pair", [(0.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_ranges_must_ascend_from_above_0(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"^gain must be two ascending numbers above 0, got .*$"):
        add_camera_noise(photograph(), pair, seeded())
    with pytest.raises(ValueError, match=r"^sigma must be two ascending numbers above 0, got .*$"):
        draw_covariances(64, 64, pair, 2, seeded())


def test_stretch_below_1_is_named() -> None:
    with pytest.raises(ValueError, match=r"^stretch must be at least 1, got 0.5$"):
        draw_covariances(64, 64, (1, 2), 0.5, seeded())
