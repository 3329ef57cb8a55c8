import numpy as np
import pytest
from skimage.draw import polygon2mask
from skimage.measure import regionprops

from datamodules.annotations.geometry import find_centroid, find_mask_centroid
from datamodules.annotations.structure import Malformed


@pytest.mark.parametrize(
    ("corners", "centroid"),
    [
        ([(0, 0), (3, 0), (0, 3)], (1, 1)),
        ([(0, 3), (3, 0), (0, 0)], (1, 1)),
        ([(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)], (5 / 6, 5 / 6)),  # an L of three squares
        ([(1e6, 1e6), (1e6 + 2, 1e6), (1e6 + 2, 1e6 + 2), (1e6, 1e6 + 2), (1e6, 1e6)], (1e6 + 1, 1e6 + 1)),
    ],
)
def test_centroids_of_polygons(corners: list[tuple[float, float]], centroid: tuple[float, float]) -> None:
    assert find_centroid(corners) == pytest.approx(centroid, rel=1e-15)


def test_centroids_agree_with_those_of_pixels() -> None:
    random = np.random.RandomState(0)
    angles = np.sort(random.uniform(0, 2 * np.pi, 12))
    corners = np.stack([300 + random.uniform(90, 250, 12) * np.cos(angles), 300 + 200 * np.sin(angles)], 1)
    mask = polygon2mask((600, 600), corners[:, ::-1])
    (region,) = regionprops(mask.astype(int))
    assert find_centroid([(x, y) for x, y in corners]) == pytest.approx(region.centroid[::-1], abs=0.1)
    row, column = region.centroid
    assert find_mask_centroid(mask, 5, 7) == pytest.approx((column + 5.5, row + 7.5))


@pytest.mark.parametrize("corners", [[], [(1, 2)], [(1, 2), (3, 4)], [(0, 0), (1, 1), (2, 2)], [(1, 1)] * 4])
def test_polygons_without_area(corners: list[tuple[float, float]]) -> None:
    with pytest.raises(Malformed, match="a polygon must have an area"):
        find_centroid(corners)
