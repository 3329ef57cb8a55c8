import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import avg_pool2d, pad

from datamodules.crowd.density import make_density_map
from datamodules.types import Points


def some_points(count: int, height: int, width: int, seed: int = 0) -> Points:
    return np.random.RandomState(seed).uniform(0, (width - 1, height - 1), (count, 2)).astype(np.float32)


def naive(points: Points, height: int, width: int, sigma: float, kernel_size: int) -> np.ndarray:
    """One head after the other, from the formula, in double precision."""
    total = np.zeros((height, width))
    rows, columns = np.mgrid[:height, :width]
    for x, y in points:
        down, right = rows - round(float(y)), columns - round(float(x))
        window = (abs(down) <= kernel_size // 2) & (abs(right) <= kernel_size // 2)
        gaussian = np.exp(-(down**2 + right**2) / (2 * sigma**2)) * window
        total += gaussian / gaussian.sum()
    return total


@pytest.mark.parametrize(("sigma", "kernel_size"), [(4.0, 15), (1.0, 15), (2.5, 7), (10.0, 15), (4.0, 1)])
@pytest.mark.parametrize(("height", "width"), [(40, 31), (15, 60), (9, 5), (1, 1), (1, 30)])
def test_each_head_is_a_gaussian_of_mass_one(height: int, width: int, sigma: float, kernel_size: int) -> None:
    points = some_points(20, height, width)
    density = make_density_map(points, height, width, sigma, kernel_size)
    assert (density.dtype, density.shape) == (np.float32, (height, width))
    np.testing.assert_allclose(density, naive(points, height, width, sigma, kernel_size), atol=1e-5)


def test_within_the_image_it_is_that_of_scipy() -> None:
    heads = np.zeros((60, 80))
    heads[[20, 33, 40], [12, 50, 60]] = 1, 1, 2
    points = np.array([(12, 20), (50, 33), (60, 40), (60, 40)], np.float32)
    np.testing.assert_allclose(make_density_map(points, 60, 80), gaussian_filter(heads, 4.0, radius=7), atol=1e-7)


@pytest.mark.parametrize("count", [0, 1, 7, 900, 12_000])
@pytest.mark.parametrize(("height", "width"), [(3, 200), (61, 47), (400, 500)])
def test_the_sum_is_the_count(count: int, height: int, width: int) -> None:
    points = some_points(count, height, width)
    corners = np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], np.float32)
    for given in (points, np.concatenate([points, corners])):
        density = make_density_map(given, height, width)
        assert abs(density.sum(dtype=np.float64) - len(given)) < 1e-4 * max(len(given), 1)
        assert density.min() >= 0


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 32])
def test_sums_over_cells_keep_the_count(stride: int) -> None:
    height, width = 75, 101
    density = torch.from_numpy(make_density_map(some_points(300, height, width), height, width))
    whole = pad(density[None, None], (0, -width % stride, 0, -height % stride))
    pooled = avg_pool2d(whole, stride, divisor_override=1)
    assert pooled.shape[2:] == (-(-height // stride), -(-width // stride))
    assert abs(pooled.double().sum().item() - 300) < 1e-4 * 300


def test_heads_outside_are_moved_to_the_border() -> None:
    outside = np.array([(-5, 3), (20, 30), (7, -0.4), (1e9, -1e9)], np.float32)
    border = np.array([(0, 3), (19, 29), (7, 0), (19, 0)], np.float32)
    assert np.array_equal(make_density_map(outside, 30, 20), make_density_map(border, 30, 20))


def test_heads_at_one_place_add_up() -> None:
    twice = np.array([(5, 6), (5, 6)], np.float32)
    np.testing.assert_allclose(make_density_map(twice, 30, 20), 2 * make_density_map(twice[:1], 30, 20), rtol=1e-6)


def test_points_are_left_as_they_are() -> None:
    points = np.array([(-5, 3), (4.4, 30)], np.float32)
    make_density_map(points, 10, 10)
    assert points.tolist() == [[-5, 3], [np.float32(4.4), 30]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 0.0}, r"^sigma must be above 0 and finite, got 0\.0$"),
        ({"sigma": float("nan")}, r"^sigma must be .*, got nan$"),
        ({"kernel_size": 14}, r"^kernel_size must be odd, so that a kernel has a pixel at its centre, got 14$"),
        ({"kernel_size": -1}, r"^kernel_size must be at least 1, got -1$"),
        ({"height": 0}, r"^height must be .*, got 0$"),
    ],
)
def test_refusals(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_density_map(some_points(1, 9, 9), **({"height": 9, "width": 9} | arguments))
