"""Kernel prediction networks: filtering by pixel, Laplacian pyramids, and what is predicted."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor, nn

from acda.models import KPN, LPKPN, collapse_pyramid, laplacian_pyramid
from acda.models.kpn import filter_per_pixel
from tests.support import networks

SMALL: dict[str, Callable[..., nn.Module]] = {
    "KPN": lambda channels=1: KPN(3, channels, width=16, depth=1),
    "LPKPN": lambda channels=1: LPKPN(3, channels, width=16, depth=1),
}


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(4, 5), (1, 2)])
def test_filters_each_pixel_by_its_own_kernel(side: int, height: int, width: int) -> None:
    image = torch.randn(2, 3, height, width, dtype=torch.float64)
    kernels = torch.randn(2, 3 * side**2, height, width, dtype=torch.float64)
    expected = torch.zeros_like(image)
    for n, c, row, column in np.ndindex(image.shape):
        for down in range(side):
            for right in range(side):
                y = min(max(row + down - side // 2, 0), height - 1)
                x = min(max(column + right - side // 2, 0), width - 1)
                tap = kernels[n, c * side**2 + down * side + right, row, column]
                expected[n, c, row, column] += tap * image[n, c, y, x]
    torch.testing.assert_close(filter_per_pixel(image, kernels), expected)


def test_filtering_has_its_gradients() -> None:
    image = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    kernels = torch.randn(1, 2 * 9, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(filter_per_pixel, (image, kernels))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 14), (16, 16)])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_pyramid_is_put_together_exactly(size: tuple[int, int], levels: int) -> None:
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    pyramid = laplacian_pyramid(image, levels)
    assert [tuple(band.shape[2:]) for band in pyramid] == [
        (-(-size[0] // 2**level), -(-size[1] // 2**level)) for level in range(levels)
    ]
    torch.testing.assert_close(collapse_pyramid(pyramid), image, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [(12, 16), (9, 7)])
def test_low_resolution_is_the_filtered_image(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(size)
    expected = image
    for axis in (0, 1):
        expected = scipy.ndimage.correlate1d(expected, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="nearest")
    _, low = laplacian_pyramid(torch.from_numpy(image)[None, None], 2)
    np.testing.assert_allclose(low[0, 0], expected[::2, ::2], rtol=1e-12)


def test_bands_are_those_of_opencv_but_for_the_border() -> None:
    """It continues images by reflection, so the outermost pixels differ."""
    image = np.random.default_rng(0).random((24, 32))
    band, low = laplacian_pyramid(torch.from_numpy(image)[None, None], 2)
    expected_low = cv2.pyrDown(image)
    expected = image - cv2.pyrUp(expected_low)
    np.testing.assert_allclose(low[0, 0, 1:-1, 1:-1], expected_low[1:-1, 1:-1], rtol=1e-12)
    np.testing.assert_allclose(band[0, 0, 4:-4, 4:-4], expected[4:-4, 4:-4], rtol=1e-12)


def test_one_colour_has_no_detail() -> None:
    *bands, low = laplacian_pyramid(torch.full((1, 1, 11, 6), 0.3, dtype=torch.float64))
    torch.testing.assert_close(low, torch.full_like(low, 0.3))
    for band in bands:
        torch.testing.assert_close(band, torch.zeros_like(band))


def test_bands_keep_their_precision_under_autocast() -> None:
    image = torch.rand(1, 1, 12, 9)
    with torch.autocast("cpu", torch.bfloat16):
        pyramid = laplacian_pyramid(image)
    for band, expected in zip(pyramid, laplacian_pyramid(image), strict=True):
        assert torch.equal(band, expected)


def test_pyramid_of_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        laplacian_pyramid(torch.zeros(1, 1, 4, 4), 0)


def convolution(in_channels: int, out_channels: int) -> int:
    return 9 * in_channels * out_channels + out_channels


FEATURES = convolution(16, 64) + 33 * convolution(64, 64)


@pytest.mark.parametrize(("side", "millions"), [(5, 1.28), (19, 1.48)])
def test_parameters_of_kpn(side: int, millions: float) -> None:
    expected = FEATURES + convolution(4, 64) + convolution(64, 64) + convolution(64, side**2)
    assert networks.parameters(KPN(side)) == expected
    assert round(expected / 1e6, 2) == millions


def test_parameters_of_lpkpn() -> None:
    first = sum(convolution(channels, 64) for channels in (4, 16, 64))
    expected = FEATURES + first + 3 * (convolution(64, 64) + convolution(64, 25))
    assert networks.parameters(LPKPN()) == expected
    assert round(expected / 1e6, 2) == 1.43


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_any_size(name: str, channels: int) -> None:
    networks.assert_takes_any_size(SMALL[name](channels), channels, channels)


@pytest.mark.parametrize(("name", "halo"), [("KPN", 24), ("LPKPN", 40)])
def test_parts_of_an_image_give_what_the_whole_gives(name: str, halo: int) -> None:
    networks.assert_moves_with_the_image(SMALL[name](), 1, 4, halo)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("channels", [1, 3])
def test_starts_as_what_changes_nothing(name: str, channels: int) -> None:
    image = torch.rand(2, channels, 9, 6)
    torch.testing.assert_close(SMALL[name](channels)(image), image)


@pytest.mark.parametrize("name", SMALL)
def test_restores_better_the_longer_it_trains(name: str) -> None:
    networks.assert_learns(SMALL[name](), 1, lr=3e-4, steps=60)


def test_kpn_is_what_it_says() -> None:
    network = networks.randomised(KPN(3, width=16, depth=1))
    image = torch.rand(2, 1, 8, 12, dtype=torch.float64)
    first = conv(network, nn.functional.pixel_unshuffle(image, 4), "head.1")
    hidden = conv(network, first, "body.0.conv1").relu()
    features = first + conv(network, first + conv(network, hidden, "body.0.conv2"), "body.1")
    hidden = conv(network, nn.functional.pixel_shuffle(features, 4), "kernels.0.1").relu()
    kernels = conv(network, conv(network, hidden, "kernels.0.3").relu(), "kernels.0.5")
    assert kernels.shape == (2, 9, 8, 12)
    windows = nn.functional.unfold(nn.functional.pad(image, (1, 1, 1, 1), mode="replicate"), 3).view(2, 9, 8, 12)
    expected = (kernels * windows).sum(1, keepdim=True)
    torch.testing.assert_close(network(image), expected)
    torch.testing.assert_close(network.features(image), features)


def conv(network: nn.Module, x: Tensor, name: str) -> Tensor:
    layer = network.get_submodule(name)
    return nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)


@pytest.mark.parametrize("size", [(8, 12), (9, 6)])
def test_lpkpn_filters_each_band(size: tuple[int, int]) -> None:
    network = networks.randomised(LPKPN(3, width=16, depth=1))
    image = torch.rand(2, 1, *size, dtype=torch.float64)
    bands, filtered = laplacian_pyramid(image), network.levels(image)
    for band, ours, predictor in zip(bands, filtered, network.kernels, strict=True):
        kernels = predictor(network.features(image))[..., : band.shape[2], : band.shape[3]]
        torch.testing.assert_close(ours, filter_per_pixel(band, kernels))
    torch.testing.assert_close(network(image), collapse_pyramid(filtered))


@pytest.mark.parametrize(("name", "predictors"), [("KPN", 1), ("LPKPN", 3)])
def test_names_of_weights_stay(name: str, predictors: int) -> None:
    kernels = {f"kernels.{number}.{layer}" for number in range(predictors) for layer in (1, 3, 5)}
    names = {key.rsplit(".", 1)[0] for key in SMALL[name]().state_dict()}
    assert names == {"head.1", "body.0.conv1", "body.0.conv2", "body.1"} | kernels


@pytest.mark.parametrize("network", [KPN, LPKPN])
def test_what_cannot_be_is_refused(network: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="kernel_size must be odd, got 4"):
        network(4)
    with pytest.raises(ValueError, match="width must be a multiple of 16, got 24"):
        network(width=24)
