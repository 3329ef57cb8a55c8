import numpy as np
import pytest
from PIL import Image, ImageOps

from lit_modules.metrics.localisation import find_heads, to_original, to_stored
from tests.support.crowds import density_of, in_cells

# At least three standard deviations from each other and 8 pixels from the borders, wherever they lie within a cell.
HEADS = [(10, 9), (33, 12), (58, 11), (20.0, 30), (45, 31), (13, 52), (36, 49), (61, 54), (69, 30), (57, 72), (25, 71)]


def farthest_miss(heads: list[tuple[float, float]], found: np.ndarray) -> float:
    """Largest distance from a head to the nearest one found."""
    return max(np.hypot(found[:, 0] - x, found[:, 1] - y).min() for x, y in heads)


@pytest.mark.parametrize(("cell_size", "pixels"), [(1, 0.1), (2, 0.2), (4, 0.5), (8, 2)])
def test_heads_are_found_where_they_are(cell_size: int, pixels: float) -> None:
    found = find_heads(in_cells(density_of(HEADS, 84, 80), cell_size), cell_size)
    assert len(found) == len(HEADS)
    assert farthest_miss(HEADS, found[:, :2]) < pixels


@pytest.mark.parametrize("offset", range(8))
def test_a_head_is_found_once_wherever_it_lies_in_its_cell(offset: int) -> None:
    """Halfway between cells several have the same value."""
    head = (40 + offset, 36 + offset)
    found = find_heads(in_cells(density_of([head], 80, 80)), 4)
    assert len(found) == 1
    assert farthest_miss([head], found) < 0.5


def test_halfway_between_pixels_a_gaussian_is_found_too() -> None:
    y, x = np.mgrid[:64, :64]
    density = np.exp(-((x - 30.5) ** 2 + (y - 21.5) ** 2) / 32) / (32 * np.pi)
    found = find_heads(in_cells(density), 4)
    assert found[:, :2].tolist() == pytest.approx(np.array([[30.5, 21.5]]), abs=0.05)


def test_heads_at_the_borders_are_found_within_two_pixels() -> None:
    heads = [(0, 0), (40, 0), (0, 40), (79, 79), (40, 79), (79, 30)]
    found = find_heads(in_cells(density_of(heads, 80, 80)), 4)
    assert len(found) == len(heads)
    assert farthest_miss(heads, found[:, :2]) < 2.2  # the corner of the outermost cell is √2 · 1.5 from its centre


@pytest.mark.parametrize("cell_size", [1, 4, 8])
@pytest.mark.parametrize("head_sigma", [3, 8])
def test_a_lone_head_scores_about_one(cell_size: int, head_sigma: float) -> None:
    """One whose Gaussian is not cut off, in the middle of a cell; less between cells, more where two overlap."""
    y, x = np.mgrid[:120, :120]
    middle = 60 + (cell_size - 1) / 2 - (60 % cell_size)
    lone = np.exp(-((x - middle) ** 2 + (y - middle) ** 2) / (2 * head_sigma**2))
    ((_, _, score),) = find_heads(in_cells(lone / lone.sum(), cell_size), cell_size, head_sigma)
    assert score == pytest.approx(1, abs=0.02)


def test_strongest_come_first_and_weak_ones_are_left_out() -> None:
    parts = [share * density_of([head], 60, 100) for share, head in ((0.2, (20, 20)), (0.5, (50, 40)), (1, (80, 20)))]
    rest = density_of([(20, 40)], 60, 100)
    found = find_heads(in_cells(sum(parts) + rest), 4, threshold=0.4)
    assert np.abs(found[2, :2] - (50, 40)).max() < 0.5
    assert len(found) == 3
    assert found[0, 2] >= found[1, 2] > 1.9 * found[2, 2]


def test_there_are_never_more_heads_than_counted() -> None:
    """Four halves of a head each: as many peaks above the threshold, but two heads."""
    halves = 0.5 * density_of([(20, 20), (20, 60), (60, 20), (60, 60)], 80, 80)
    assert len(find_heads(in_cells(halves), 4, threshold=0.3)) == 2


@pytest.mark.parametrize("density", [np.zeros((20, 30)), np.full((20, 30), -1.0), np.full((20, 30), 1e-3)])
def test_maps_without_peaks_have_no_heads(density: np.ndarray) -> None:
    assert find_heads(density, 4).shape == (0, 3)


def test_maps_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="density must be finite, got NaN or infinite values"):
        find_heads(np.full((20, 30), np.nan), 4)


def test_single_precision_noise_is_no_head() -> None:
    noise = np.random.default_rng(0).uniform(0, 0.02, (50, 50))
    clear = in_cells(density_of([(100, 100)], 200, 200))
    found = find_heads((clear + noise).astype(np.float32), 4)
    assert len(found) == 1
    assert farthest_miss([(100, 100)], found[:, :2]) < 2


def test_positions_are_carried_over_to_the_original() -> None:
    """Of an image reduced to a half each pixel covers two: the first one's centre is between pixels 0 and 1."""
    points = np.array([[0.0, 0.0], [10.0, 4.0], [-0.5, 4.5], [49.5, 49.5]])
    original = to_original(points, image_size=(50, 50), original_size=(150, 100))
    np.testing.assert_allclose(original, [[0.5, 1], [20.5, 13], [0, 14.5], [99, 149]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_positions_are_carried_over_to_the_stored_image(orientation: int) -> None:
    """Single bright pixels of a stored image, found in the one that Pillow shows."""
    stored = np.zeros((30, 50), np.uint8)
    points = [(0, 0), (7, 3), (49, 12), (20, 29)]
    for number, (x, y) in enumerate(points, 1):
        stored[y, x] = number
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    shown = np.asarray(ImageOps.exif_transpose(image))
    found = np.array([np.argwhere(shown == number)[0][::-1] for number in range(1, 5)], np.float64)
    np.testing.assert_array_equal(to_stored(found, shown.shape, orientation), points)
    assert to_stored(np.zeros((0, 2)), shown.shape, orientation).shape == (0, 2)
