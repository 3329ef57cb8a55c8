import pickle
from functools import cache

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import normalize

from datamodules.batches import IMAGENET_MEAN, IMAGENET_STD
from datamodules.crowd.transforms import CrowdAugmentation, ScaledCrop
from datamodules.transforms.augmentation import flip_and_recolour
from datamodules.types import Pixels, Points


def bright_pixels(count: int, height: int, width: int, seed: int = 0) -> tuple[Pixels, Points]:
    """A black image and points at the centres of its white pixels."""
    chosen = np.random.RandomState(seed).permutation(height * width)[:count]
    image = np.zeros((height, width, 3), np.uint8)
    image.reshape(-1, 3)[chosen] = 255
    return image, np.stack([chosen % width, chosen // width], 1).astype(np.float32)


@cache
def bright_blobs(height: int, width: int, spacing: int = 28) -> tuple[Pixels, Points]:
    """Smooth blobs, far from each other and not at centres of pixels, and points at their centres."""
    random = np.random.RandomState(0)
    grid = np.mgrid[spacing // 2 : width : spacing, spacing // 2 : height : spacing].reshape(2, -1).T
    points = grid + random.uniform(-3, 3, grid.shape)
    rows, columns = np.mgrid[:height, :width]
    blobs = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 2.5**2)) for x, y in points)
    return np.repeat((255 * blobs).round().astype(np.uint8)[..., None], 3, 2), points.astype(np.float32)


def positions_of(bright: np.ndarray) -> set[tuple[int, int]]:
    rows, columns = np.nonzero(bright)
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


def test_crops_without_scaling_move_points_and_pixels_exactly() -> None:
    torch.manual_seed(0)
    image, points = bright_pixels(700, 50, 70)
    augmentation = CrowdAugmentation(32, "none")
    seen = set()
    for _ in range(50):
        crop, inside = augmentation(image, points)
        assert (crop.dtype, crop.shape, inside.dtype) == (np.uint8, (32, 32, 3), np.float32)
        assert positions_of(crop[..., 0]) == {(int(x), int(y)) for x, y in inside}
        seen.add(crop.tobytes())
    assert len(seen) > 25  # parts that would reach beyond a border lie at it


def test_flips_move_points_and_pixels_exactly() -> None:
    torch.manual_seed(0)
    image, points = bright_pixels(300, 31, 44)
    change = flip_and_recolour()
    flips = 0
    for _ in range(100):
        changed, moved = change.change_with_points(image, points)  # grey and gamma keep black and white
        assert positions_of(changed[..., 0]) == {(int(x), int(y)) for x, y in moved}
        assert len(moved) == len(points)
        flips += not np.array_equal(changed, image)
    assert 30 < flips < 70


@pytest.mark.parametrize("scale", [(0.8, 0.8), (1.2, 1.2), (0.8, 1.2)])
def test_scaling_moves_points_and_pixels_alike(scale: tuple[float, float]) -> None:
    torch.manual_seed(0)
    image, points = bright_blobs(300, 320)
    crop_of = ScaledCrop(200, scale)
    offsets = []
    for _ in range(10):
        crop, inside = crop_of(image, points)
        for x, y in inside[((inside > 12) & (inside < 187)).all(1)]:
            top, left = round(y) - 10, round(x) - 10
            window = crop[top : top + 21, left : left + 21, 0].astype(np.float64)
            rows, columns = np.mgrid[top : top + 21, left : left + 21]
            offsets.append([(window * columns).sum() / window.sum() - x, (window * rows).sum() / window.sum() - y])
    assert len(offsets) > 100
    assert np.abs(offsets).max() < 0.08
    assert np.abs(np.mean(offsets, 0)).max() < 0.01  # half a pixel left out would show as 0.1


def test_scales_are_spread_over_their_range() -> None:
    torch.manual_seed(0)
    image, points = np.zeros((300, 300, 3), np.uint8), np.array([(140, 150), (160, 150)], np.float32)
    factors = []
    crop_of = ScaledCrop(200, (0.8, 1.2))
    while len(factors) < 100:
        _, inside = crop_of(image, points)
        if len(inside) == 2:
            factors.append((inside[1, 0] - inside[0, 0]) / 20)
    assert 0.79 < min(factors) < 0.85
    assert 1.15 < max(factors) < 1.21
    assert 0.95 < np.mean(factors) < 1.05


def test_every_place_of_a_crop_occurs() -> None:
    torch.manual_seed(0)
    image = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5, 1).repeat(3, 2)
    crop_of = ScaledCrop(4, (1, 1))
    corners = [int(crop_of(image, np.zeros((0, 2), np.float32))[0][0, 0, 0]) for _ in range(2400)]
    places, counts = np.unique(corners, return_counts=True)
    assert places.tolist() == [0, 1, 5, 6, 10, 11]
    # Centres are spread evenly over 6 and 5 pixels: 2.5 of 6 give each border, 1 the middle; columns 2.5 of 5 each.
    assert counts / 2400 == pytest.approx([5 / 24, 5 / 24, 1 / 12, 1 / 12, 5 / 24, 5 / 24], abs=0.03)


def test_crops_show_the_border_half_as_often_as_the_middle() -> None:
    torch.manual_seed(0)
    columns = np.arange(100, dtype=np.uint8)[None, :, None].repeat(30, 0).repeat(3, 2)
    seen = np.zeros(100)
    crop_of = ScaledCrop(20, (1, 1))
    for _ in range(3000):
        seen[crop_of(columns, np.zeros((0, 2), np.float32))[0][0, :, 0]] += 1
    middle = seen[20:80].mean()
    assert middle / 3000 == pytest.approx(20 / 100, rel=0.05)
    assert seen[[0, -1]] / middle == pytest.approx([0.5, 0.5], abs=0.1)


def test_half_of_the_standard_crops_are_not_scaled() -> None:
    torch.manual_seed(0)
    image, points = np.zeros((90, 90, 3), np.uint8), np.array([(40, 45), (50, 45)], np.float32)
    augmentation = CrowdAugmentation(64)
    spacings = []
    while len(spacings) < 400:
        _, inside = augmentation(image, points)
        if len(inside) == 2:
            spacings.append(abs(inside[1, 0] - inside[0, 0]))
    assert np.mean(np.abs(np.subtract(spacings, 10)) < 1e-5) == pytest.approx(0.5, abs=0.1)


def test_no_point_is_lost_between_neighbouring_crops() -> None:
    torch.manual_seed(0)
    points = np.random.RandomState(0).uniform(0, (79, 59), (12_000, 2)).astype(np.float32)
    image = np.arange(80, dtype=np.uint8)[None, :, None].repeat(60, 0).repeat(3, 2)
    counts = {}
    while len(counts) < 21:
        crop, inside = CrowdAugmentation(60, "none")(image, points)
        counts[int(crop[0, 0, 0])] = len(inside)
    columns = np.rint(points[:, 0])
    for left, count in counts.items():
        assert abs(count - ((left <= columns) & (columns < left + 60)).sum()) <= 1  # one at the very edge


def test_small_images_are_padded_with_the_mean_colour() -> None:
    torch.manual_seed(0)
    image, points = bright_pixels(40, 20, 30)
    crop, inside = CrowdAugmentation(64, "none")(image, points)
    assert np.array_equal(crop[:20, :30], image)
    assert np.array_equal(np.sort(inside, 0), np.sort(points, 0))
    outside = np.concatenate([crop[20:].reshape(-1, 3), crop[:20, 30:].reshape(-1, 3)])
    normalised = normalize(torch.from_numpy(outside.T[..., None]) / 255, IMAGENET_MEAN, IMAGENET_STD)
    assert normalised.abs().max() < 0.5 / 255 / min(IMAGENET_STD)
    for _ in range(20):
        crop, inside = CrowdAugmentation(64)(image, points)
        assert (crop.shape, len(inside)) == ((64, 64, 3), 40)


def test_points_stay_within_the_crop() -> None:
    torch.manual_seed(0)
    image, points = bright_pixels(4000, 80, 100)
    points = (points + np.random.RandomState(0).uniform(-0.5, 0.5, points.shape)).clip(0, (99, 79)).astype(np.float32)
    augmentation = CrowdAugmentation(48)
    for _ in range(30):
        _, inside = augmentation(image, points)
        assert inside.dtype == np.float32
        assert inside.min() >= 0
        assert inside.max() <= 47
        assert len(inside) > 700  # of 4,000 in 100 × 80 pixels, 40 × 40 at least


def test_a_crop_without_heads() -> None:
    torch.manual_seed(0)
    for augmentation in (CrowdAugmentation(16), CrowdAugmentation(16, "none")):
        for points in (np.zeros((0, 2), np.float32), np.array([(99, 99)], np.float32)):
            _, inside = augmentation(np.zeros((100, 100, 3), np.uint8)[:90], points)
            assert (inside.shape, inside.dtype) == ((0, 2), np.float32)


def test_points_at_one_place_stay_as_many() -> None:
    torch.manual_seed(0)
    points = np.array([(30, 30)] * 3, np.float32)
    for _ in range(10):
        _, inside = CrowdAugmentation(64)(np.zeros((60, 60, 3), np.uint8), points)
        assert len(inside) == 3
        assert len(np.unique(inside, axis=0)) == 1


def test_colours_change_in_the_documented_share() -> None:
    torch.manual_seed(0)
    image = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    change = flip_and_recolour()
    pixels = [change(image)[0, 0].tolist() for _ in range(1000)]
    grey = sum(r == g == b for r, g, b in pixels)
    untouched = sum(pixel == [200, 100, 50] for pixel in pixels)
    assert 70 < grey < 130
    assert 580 < untouched < 680  # 0.9 × 0.7
    red = {r for r, g, b in pixels if not r == g == b}
    assert min(red) == pytest.approx(255 * (200 / 255) ** 1.5, abs=3)
    assert max(red) == pytest.approx(255 * (200 / 255) ** 0.5, abs=3)


def test_the_torch_seed_decides() -> None:
    image, points = bright_pixels(500, 90, 90)
    augmentation = CrowdAugmentation(32)
    results = []
    for one in (augmentation, pickle.loads(pickle.dumps(augmentation))):
        torch.manual_seed(5)
        results.append([one(image, points) for _ in range(10)])
    for (first, first_points), (second, second_points) in zip(*results, strict=True):
        assert np.array_equal(first, second)
        assert np.array_equal(first_points, second_points)


def test_image_and_points_given_are_left_as_they_are() -> None:
    torch.manual_seed(0)
    image, points = bright_pixels(50, 40, 40)
    before = image.copy(), points.copy()
    for _ in range(20):
        CrowdAugmentation(40)(image, points)
    assert np.array_equal(image, before[0])
    assert np.array_equal(points, before[1])


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"^augmentation must be one of standard, none, got 'strong'$"):
        CrowdAugmentation(32, "strong")
    with pytest.raises(ValueError, match=r"^crop_size must be at least 1, got 0$"):
        CrowdAugmentation(0)
