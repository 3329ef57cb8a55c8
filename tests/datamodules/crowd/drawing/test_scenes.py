from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from datamodules.crowd.drawing.scenes import Scene, render_scene


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(seed, 96, 128, max_heads=300) for seed in range(60)]


@pytest.fixture(scope="module")
def large_scenes() -> list[Scene]:
    """Scenes of the default size with many heads each."""
    return [render_scene(seed) for seed in (2, 4, 13, 23, 34)]


def test_scenes_repeat() -> None:
    for first, again in zip(render_scene(5, 96, 128), render_scene(5, 96, 128), strict=True):
        assert first.dtype == again.dtype
        assert np.array_equal(first, again)


def test_seeds_make_other_scenes() -> None:
    images = [render_scene(seed, 96, 128).image for seed in (0, 1, (0, 1), (0, 2))]
    assert len({image.tobytes() for image in images}) == 4


def test_shapes_and_types(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert (scene.image.shape, scene.image.dtype) == ((96, 128, 3), np.uint8)
        assert (scene.points.shape[1:], scene.points.dtype) == ((2,), np.float32)
        assert (scene.head_sizes.shape, scene.head_sizes.dtype) == (scene.points.shape[:1], np.float32)


def test_heads_are_in_their_image_and_of_the_sizes_documented(scenes: list[Scene], large_scenes: list[Scene]) -> None:
    for scene in scenes + large_scenes:
        height, width, _ = scene.image.shape
        assert (scene.points >= 0).all()
        assert (scene.points <= (width - 1, height - 1)).all()
        assert scene.head_sizes.min(initial=3) >= 3
        assert scene.head_sizes.max(initial=60) <= 60


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 300), (300, 64)])
@pytest.mark.parametrize("max_heads", [1, 2000])
def test_images_of_any_shape(height: int, width: int, max_heads: int) -> None:
    for seed in range(8):
        scene = render_scene(seed, height, width, max_heads)
        assert scene.image.shape == (height, width, 3)
        assert len(scene.points) <= max_heads


def test_crowds_are_of_all_sizes_up_to_the_largest(scenes: list[Scene]) -> None:
    counts = np.array([len(scene.points) for scene in scenes])
    assert counts.max() <= 300
    assert counts.max() > 100
    assert (counts == 0).any()
    assert ((counts > 0) & (counts < 10)).any()
    assert np.median(counts) < counts.mean()


def test_heads_grow_from_row_to_row(large_scenes: list[Scene]) -> None:
    for scene in large_scenes:
        assert len(scene.points) >= 200
        assert spearmanr(scene.points[:, 1], scene.head_sizes).statistic > 0.9


def test_heads_of_one_image_differ_tenfold(large_scenes: list[Scene]) -> None:
    ratios = [scene.head_sizes.max() / scene.head_sizes.min() for scene in large_scenes]
    assert max(ratios) > 15
    assert np.median(ratios) > 8


def test_no_annotated_head_is_hidden_by_nearer_ones(large_scenes: list[Scene]) -> None:
    disc = np.mgrid[-3:4, -3:4].reshape(2, -1).T / 7  # of diameter 1, but for the corners
    disc = disc[np.hypot(*disc.T) < 0.45]
    for scene in large_scenes:
        for number, (middle, size) in enumerate(zip(scene.points, scene.head_sizes, strict=True)):
            nearer, radii = scene.points[number + 1 :], scene.head_sizes[number + 1 :] / 2
            distance = np.linalg.norm((middle + size * disc)[:, None] - nearer, axis=2)
            # Hats are seen beyond the disc, of which then less than two fifths may be left.
            assert (distance > 0.9 * radii).all(1).mean() > 0.1


def edges(scenes: list[Scene], shift: tuple[float, float]) -> float:
    """How much the brightness changes at the rims of heads, if they were shifted by so many of their diameters."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    found = []
    for scene in scenes:
        light = scene.image.mean(2)
        for place, size in zip(scene.points, scene.head_sizes, strict=True):
            middle = place + size * np.array(shift)
            if size > 10 and (middle > size).all() and (middle < np.array(light.shape[::-1]) - size).all():
                inside, outside = (np.rint(middle + size * radius * circle).astype(int).T for radius in (0.4, 0.65))
                found.append(np.abs(light[inside[1], inside[0]] - light[outside[1], outside[0]]).mean())
    return float(np.mean(found))


@pytest.mark.parametrize("shift", [(0.25, 0), (-0.25, 0), (0, 0.5), (0, -0.5), (1, 0), (0, 1)])
def test_annotations_lie_on_heads(shift: tuple[float, float], large_scenes: list[Scene]) -> None:
    assert edges(large_scenes, (0, 0)) > 1.1 * edges(large_scenes, shift)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 63}, "height must be at least 64, got 63"),
        ({"width": 63}, "width must be at least 64, got 63"),
        ({"max_heads": 0}, "max_heads must be from 1 to 2000, got 0"),
        ({"max_heads": 2001}, "max_heads must be from 1 to 2000, got 2001"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        render_scene(0, **arguments)
