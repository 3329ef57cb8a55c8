"""Degradations as configurations name them, against formulas, Pillow and MATLAB's published rule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from datamodules import DataError
from datamodules.restoration.degradations import (
    JPEG,
    Bicubic,
    CameraNoise,
    Chain,
    Degradation,
    GaussianNoise,
    VaryingBlur,
    add_camera_noise,
    blur_varyingly,
    draw_covariances,
    try_degradation,
)
from datamodules.types import Map
from tests.support.restoration_files import draw_photograph


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(value: float, side: int = 300, channels: int = 3) -> Map:
    return np.full((side, side, channels), value, np.float32)


def photograph(height: int = 96, width: int = 120, channels: int = 3) -> Map:
    pixels = draw_photograph(height, width, np.random.RandomState(5)).astype(np.float32) / np.float32(255)
    return np.repeat(pixels, 2, 2)[..., :channels]


@pytest.mark.parametrize("sigma", [5.0, 25.0, 50.0])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_gaussian_noise_has_its_deviation_and_the_psnr_that_follows(sigma: float, channels: int) -> None:
    noise = GaussianNoise(sigma)(flat(0.5, channels=channels), seeded()) - 0.5
    assert noise.shape == (300, 300, channels)
    assert 255 * noise.std() == pytest.approx(sigma, rel=0.01)
    assert 255 * noise.mean() == pytest.approx(0, abs=5 * sigma / noise.size**0.5)
    assert -10 * np.log10(np.mean(noise.astype(np.float64) ** 2)) == pytest.approx(20 * np.log10(255 / sigma), abs=0.1)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.02


def test_gaussian_noise_of_a_range_is_drawn_for_each_image_alike_often() -> None:
    random = seeded()
    found = [255 * (GaussianNoise((10, 40))(flat(0.5, 64), random) - 0.5).std() for _ in range(300)]
    assert 9.5 < min(found) < 12 and 38 < max(found) < 41
    assert np.mean(found) == pytest.approx(25, abs=5 * 30 / 12**0.5 / 300**0.5)


def test_gaussian_noise_is_clipped_on_demand_alone() -> None:
    free, clipped = (GaussianNoise(25, clip=clip)(flat(1.0), seeded()) for clip in (False, True))
    assert free.max() > 1.2
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))


def matlab_weights(length: int, scale: float, out: int) -> npt.NDArray[np.float64]:
    """Weights of MATLAB's imresize along one side, ``[out, length]``: Keys' kernel, wider where it shrinks."""
    wide = min(1.0, scale)
    centres = (np.arange(1, out + 1) / scale + 0.5 * (1 - 1 / scale))[:, None]
    weights = np.zeros((out, length))
    for position in range(-3 * length, 4 * length):  # mirrored beyond the borders
        x = np.abs(wide * (centres[:, 0] - position))
        kernel = np.where(
            x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x <= 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0)
        )
        mirrored = (position - 1) % (2 * length)
        weights[:, mirrored if mirrored < length else 2 * length - 1 - mirrored] += wide * kernel
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_matlabs_away_from_borders(scale: int) -> None:
    """At borders MATLAB mirrors the image, while Pillow and torch leave out what is beyond."""
    image = photograph(96, 120)
    height, width = image.shape[:2]

    def resized(values: npt.NDArray[Any], factor: float, size: tuple[int, int]) -> npt.NDArray[np.float64]:
        down, across = (matlab_weights(*lengths) for lengths in zip(values.shape, (factor,) * 2, size, strict=False))
        return np.clip(np.einsum("ij,jkc,lk->ilc", down, values, across), 0, 1)

    expected = resized(resized(image, 1 / scale, (height // scale, width // scale)), scale, (height, width))
    inside = slice(6 * scale, -6 * scale)
    np.testing.assert_allclose(Bicubic(scale)(image, seeded())[inside, inside], expected[inside, inside], atol=2e-5)


@pytest.mark.parametrize(("scale", "size"), [(2, (96, 120)), (3, (95, 121)), (4, (50, 63))])
def test_bicubic_is_pillows(scale: int, size: tuple[int, int]) -> None:
    image = photograph(*size)
    degraded = Bicubic(scale)(image, seeded())
    for channel in range(3):
        plane = Image.fromarray(image[..., channel])
        small = np.asarray(plane.resize((round(size[1] / scale), round(size[0] / scale)), Image.Resampling.BICUBIC))
        enlarged = Image.fromarray(np.clip(small, 0, 1)).resize(size[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_allclose(degraded[..., channel], np.clip(enlarged, 0, 1), atol=1e-5)


@pytest.mark.parametrize("quality", [10, 75, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_what_a_file_of_that_quality_holds(tmp_path: Path, quality: int, mode: str) -> None:
    channels = len(mode) if mode == "RGB" else 1
    pixels = np.rint(255 * photograph()[..., :channels]).astype(np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(tmp_path / "a.jpg", quality=quality)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"), np.float64).reshape(pixels.shape)
    degraded = JPEG(quality)(pixels.astype(np.float32) / np.float32(255), seeded())
    np.testing.assert_allclose(255 * degraded, expected, atol=2)  # decoders may round colours otherwise
    assert np.mean(np.abs(255 * degraded - expected)) < 0.1


def test_jpeg_draws_its_quality_from_the_range() -> None:
    image = photograph()
    errors = {q: np.abs(JPEG(q)(image, seeded()) - image).mean() for q in (20, 21, 22, 80)}
    drawn = {np.abs(JPEG((20, 22))(image, seeded(seed)) - image).mean() for seed in range(40)}
    assert drawn == {errors[20], errors[21], errors[22]}


def test_camera_noise_draws_a_gain_and_varies_around_it() -> None:
    image = photograph()
    random, again = seeded(3), seeded(3)
    gain = np.exp(again.uniform(np.log(0.001), np.log(0.01)))
    expected = add_camera_noise(image, (gain / 3, 3 * gain), again)
    np.testing.assert_array_equal(CameraNoise((0.001, 0.01), variation=3)(image, random), expected)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_varying_blur_takes_any_number_of_channels(channels: int) -> None:
    image = photograph(channels=channels)
    again = seeded(2)
    expected = blur_varyingly(np.repeat(image[..., :1], 3, 2), draw_covariances(96, 120, (1, 2), 2, again))
    blurred = VaryingBlur((1, 2), stretch=2)(image, seeded(2))
    assert blurred.shape == image.shape
    np.testing.assert_array_equal(blurred[..., 0], expected[..., 0])


def test_a_chain_takes_its_steps_in_order_from_one_generator() -> None:
    image = photograph()
    random = seeded(1)
    expected = JPEG(30)(GaussianNoise(20)(Bicubic(2)(image, random), random), random)
    np.testing.assert_array_equal(Chain([Bicubic(2), GaussianNoise(20), JPEG(30)])(image, seeded(1)), expected)
    assert not np.array_equal(Chain([GaussianNoise(20), Bicubic(2), JPEG(30)])(image, seeded(1)), expected)


ALL: list[Degradation] = [GaussianNoise((0, 50)), CameraNoise(), VaryingBlur(), Bicubic(3), JPEG()]


@pytest.mark.parametrize("degradation", ALL, ids=lambda d: type(d).__name__)
def test_the_generator_alone_decides_and_the_image_stays(degradation: Degradation) -> None:
    image = photograph()
    before = image.copy()
    first, again = (degradation(image, seeded(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, before)
    assert (first.shape, first.dtype) == (image.shape, np.float32)
    if not isinstance(degradation, Bicubic):
        assert not np.array_equal(first, degradation(image, seeded(8)))
    try_degradation(degradation, 3)


def double(image: Map, random: np.random.Generator) -> npt.NDArray[np.float64]:
    return image.astype(np.float64)


def smaller(image: Map, random: np.random.Generator) -> Map:
    return image[::2]


def nothing(image: Map, random: np.random.Generator) -> None:
    return None


@pytest.mark.parametrize(
    ("degradation", "given"),
    [(double, r"float64 \[64, 64, 2\]"), (smaller, r"float32 \[32, 64, 2\]"), (nothing, "None")],
)
def test_what_gives_something_else_is_refused(degradation: Callable[..., Any], given: str) -> None:
    with pytest.raises(
        DataError, match=rf"^degradation must give what it is given, float32 \[64, 64, 2\], got {given}$"
    ):
        try_degradation(degradation, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianNoise((30, 10)), r"sigma must be a number from 0, or two such ascending, got \(30, 10\)"),
        (lambda: GaussianNoise(-1), r"sigma must be a number from 0, or two such ascending, got -1"),
        (lambda: GaussianNoise(float("nan")), r"sigma must be a number from 0, or two such ascending, got nan"),
        (lambda: JPEG((90, 30)), r"quality must be a number from 1 to 100, or two such ascending, got \(90, 30\)"),
        (lambda: JPEG(0), r"quality must be a number from 1 to 100, or two such ascending, got 0"),
        (lambda: JPEG((50, 101)), r"quality must be a number from 1 to 100, or two such ascending, got \(50, 101\)"),
        (lambda: CameraNoise((0.1, 0.01)), r"gain must be two ascending numbers above 0, got \(0.1, 0.01\)"),
        (lambda: CameraNoise(variation=0.5), r"variation must be at least 1, got 0.5"),
        (lambda: VaryingBlur((2, 1)), r"sigma must be two ascending numbers above 0, got \(2, 1\)"),
        (lambda: VaryingBlur(stretch=0.9), r"stretch must be at least 1, got 0.9"),
        (lambda: Bicubic(5), r"scale must be one of 2, 3, 4, got 5"),
        (lambda: JPEG()(flat(0.5, 32, 4), seeded()), r"channels must be 1 or 3 for JPEG, got 4"),
        (lambda: CameraNoise()(flat(0.5, 32, 1), seeded()), r"channels must be 3 for CameraNoise, whose .*, got 1"),
    ],
)
def test_arguments_out_of_range_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, DataError), match=rf"^{message}$"):
        make()
