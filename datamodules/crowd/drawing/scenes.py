"""Drawn crowds in strong perspective, with the positions and sizes of heads."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from datamodules.crowd.drawing.backdrops import draw_backdrop, draw_ground, draw_noise
from datamodules.crowd.drawing.figures import FEET, HEAD, make_people, make_things
from datamodules.crowd.drawing.shapes import FINE, Figures, count_points, draw, paint
from datamodules.errors import check_at_least, refuse
from datamodules.types import Map, Pixels

_SMALLEST, _LARGEST = 3.0, 60.0  # diameters of heads in pixels
_SPREAD = 0.15  # heads at one distance are smaller or larger by up to this share
_VISIBLE = 0.4  # share of a head that must be seen for it to be annotated
_NO_CROWD = 0.05  # share of scenes without people
_FEWEST = 8  # people in others


class Scene(NamedTuple):
    """A picture of a crowd.

    Attributes:
        image: RGB, uint8 ``[H, W, 3]``.
        points: Middles (x, y) of the annotated heads in pixels, (0, 0) being the middle of the upper left one,
            float32 ``[N, 2]``; far ones first.
        head_sizes: Diameters of these heads in pixels, the means of width and height, float32 ``[N]``.
    """

    image: Pixels
    points: Map
    head_sizes: Map


class _Camera(NamedTuple):
    """A camera above level ground, in a head's diameters: one of ``s`` pixels is ``rise · s`` below the horizon.

    Attributes:
        horizon: Its row, which may lie above the image.
        rise: How high the camera is above the heads, in their diameters.
        focal: Focal length in pixels.
        nearest: Diameter of heads at the lower border of the image, in pixels.
        farthest: Diameter of heads where the crowd ends, in pixels.
    """

    horizon: float
    rise: float
    focal: float
    nearest: float
    farthest: float


def check_scene(height: int, width: int, max_heads: int) -> None:
    """Check what :func:`render_scene` is to draw.

    Args:
        height: Of the image in pixels, from 64.
        width: Of the image in pixels, from 64.
        max_heads: People in the largest crowds, 1 to 2000.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_at_least(64, height=height, width=width)
    if not 1 <= max_heads <= 2000:
        refuse("max_heads", max_heads, "from 1 to 2000")


def render_scene(seed: int | Sequence[int], height: int = 384, width: int = 512, max_heads: int = 2000) -> Scene:
    """Draw a crowd on level ground before a backdrop.

    The diameter of heads grows linearly from row to row, from 3 pixels where the crowd ends to up to 60 (a seventh of
    the height in lower images) at the lower border, and differs by ±15 % from one to the next. People stand in
    clusters, with aisles; near ones hide what is behind them. Things that resemble heads stand among them; ground,
    backdrop, light, haze, blur, colour cast and noise differ from scene to scene. One scene in twenty is without
    people; in the others the logarithm of their number is uniform, from 8 on.

    As in published data sets only heads that are seen are annotated: those of which two fifths at least are, with
    what they wear, and whose middle lies in the image.

    Args:
        seed: What the scene depends on: a number from 0, or several.
        height: Of the image in pixels, from 64.
        width: Of the image in pixels, from 64.
        max_heads: People in the largest crowds, 1 to 2000. Large crowds are seen from higher up, so that heads are
            smaller, and fewer are drawn where there is still no room, as in images below the default size.

    Returns:
        The scene; the same for the same arguments.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_scene(height, width, max_heads)
    random = np.random.default_rng(seed)
    texture = draw_noise(random)
    people_wanted = _draw_crowd_size(max_heads, random)
    for _ in range(20):  # until there is room for them
        camera = _place_camera(height, random.uniform(1, 1.6) * width, random)
        places = _find_places(camera, width, random)
        if len(places) >= 1.1 * people_wanted:
            break
    order = _order_places(places, camera, width, random)
    clutter = int(60 * random.random() ** 2)
    persons = _make_figures(places[order[:people_wanted]], camera, random)
    objects = _make_figures(random.permutation(places[order[people_wanted:]])[:clutter], camera, random)

    bodies, heads = make_people(persons, random)
    layers = [*bodies, *heads, *make_things(objects, random)]
    seen = draw(layers, height, width)
    bare, distance = _draw_surroundings(height, width, camera, [persons, objects], texture, random)
    painted = paint(bare, seen, layers, texture, random)
    image = _take_photograph(painted[..., :3], np.maximum(distance, painted[..., 3]), random)

    size = persons.size[:, 0]
    points_of_heads = np.sum(count_points(seen, layers)[len(bodies) : len(bodies + heads)], axis=0)
    visible = points_of_heads >= _VISIBLE * np.pi / 4 * HEAD[0] * HEAD[1] * (FINE * size) ** 2
    inside = ((persons.middle >= 0) & (persons.middle <= (width - 1, height - 1))).all(1)
    annotated = np.flatnonzero(visible & inside)
    annotated = annotated[np.argsort(persons.nearness[annotated], kind="stable")]
    return Scene(image, persons.middle[annotated], size[annotated])


def _draw_crowd_size(max_heads: int, random: np.random.Generator) -> int:
    if random.random() < _NO_CROWD:
        return 0
    few = min(_FEWEST, max_heads)
    return min(max_heads, int(np.exp(random.uniform(np.log(few), np.log(max_heads + 1)))))


def _place_camera(height: int, focal: float, random: np.random.Generator) -> _Camera:
    """Place a camera so high that the crowd's heads shrink to the smallest size in the upper part of the image."""
    farthest = _SMALLEST / (1 - _SPREAD)
    nearest = min(_LARGEST / (1 + _SPREAD), height / 7) * (1 - 0.7 * random.random() ** 2)
    nearest = max(nearest, 2 * farthest)
    end = random.uniform(0.05, 0.3) * height
    rise = (height - end) / (nearest - farthest)
    return _Camera(end - farthest * rise, rise, focal, nearest, farthest)


def _find_places(camera: _Camera, width: int, random: np.random.Generator) -> Map:
    """Find where people can stand: columns, and the diameters that heads have there, ``[M, 2]``.

    They stand in rows, more than two diameters apart on the ground, or so far that not all are hidden by the next row.
    """
    rows = []
    size = 1.1 * camera.nearest
    while size > camera.farthest:
        step = max(2.2 * size**2 / camera.focal, 0.55 * size / camera.rise)
        across = np.arange(random.uniform(-1.4, 0.4), width / size + 1, 1.8)
        across += random.uniform(-0.45, 0.45, len(across))
        sizes = np.maximum(size - step * random.uniform(0, 0.9, len(across)), camera.farthest)
        rows.append(np.stack([across * size, sizes], 1))
        size -= step
    return np.concatenate(rows).astype(np.float32)


def _order_places(places: Map, camera: _Camera, width: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Order places as people take them: in clusters, seldom in aisles, perhaps rather near than far."""
    across, away = (places[:, 0] - width / 2) / places[:, 1], camera.focal / places[:, 1]
    liking = random.uniform(0, 1.2) * np.log(places[:, 1])
    attraction = random.uniform(0, 5)
    for centre in random.integers(0, len(places), random.integers(1, 6)):
        extent = random.uniform(0.1, 0.5) * away[centre]
        liking += attraction * np.exp(-((across - across[centre]) ** 2 + (away - away[centre]) ** 2) / extent**2)
    for centre in random.integers(0, len(places), random.integers(0, 4)):
        angle = random.uniform(0, np.pi)
        beside = (across - across[centre]) * np.cos(angle) + (away - away[centre]) * np.sin(angle)
        liking -= 4 * (np.abs(beside) < 3)
    return np.argsort(-liking - random.gumbel(size=len(places)))  # draws without replacement, of odds exp(liking)


def _make_figures(places: Map, camera: _Camera, random: np.random.Generator) -> Figures:
    """Make figures in some places, taller and smaller ones."""
    count = len(places)
    column, nearness = places.T
    row = camera.horizon + nearness * (camera.rise + random.uniform(-0.35, 0.35, count))
    size = np.clip(nearness * random.uniform(1 - _SPREAD, 1 + _SPREAD, count), _SMALLEST, _LARGEST)
    return Figures(
        middle=np.stack([column, row], 1).astype(np.float32),
        size=size.astype(np.float32)[:, None],
        lean=random.uniform(-0.08, 0.08, (count, 1)).astype(np.float32),
        nearness=nearness,
    )


def _draw_surroundings(
    height: int, width: int, camera: _Camera, groups: list[Figures], texture: Map, random: np.random.Generator
) -> tuple[Map, Map]:
    """Draw backdrop and ground with shadows, ``[H, W, 3]``, and the diameter of a head there, ``[H, W]``."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    below = camera.rise + FEET  # how far the ground is below the horizon, in diameters
    end = int(np.clip(camera.horizon + camera.farthest * below, 1, height - 1))
    distance = np.maximum((rows - camera.horizon) / below, camera.farthest).astype(np.float32)
    size = distance[end:]
    floor = draw_ground((columns[end:] - width / 2) / size, camera.focal / size, size, texture, random)
    floor *= 1 - random.uniform(0.2, 0.6) * _draw_shadows(height, width, groups, random.uniform(-3, 3))[end:, :, None]
    return np.concatenate([draw_backdrop(end, width, texture, random), floor]), distance


def _draw_shadows(height: int, width: int, groups: list[Figures], cast: float) -> Map:
    """Shade the ground by figures, 0 to 1; ``cast`` is how far to the right, in diameters."""
    shaded = np.zeros((height, width), np.uint8)
    for figures in groups:
        feet = figures.middle + figures.size * np.array([cast / 2, FEET], np.float32)
        for (x, y), size in zip(feet.tolist(), figures.size[:, 0].tolist(), strict=True):
            if y < height + size:
                cv2.ellipse(shaded, ((x, y), ((2.2 + abs(cast)) * size, 0.9 * size), 0), 255, cv2.FILLED)
    return (cv2.GaussianBlur(shaded, (0, 0), 1.5) / 255).astype(np.float32)


def _take_photograph(image: Map, distance: Map, random: np.random.Generator) -> Pixels:
    """Imitate what a camera makes of it: haze and blur far away, light that varies, a colour cast, noise."""
    far = (_SMALLEST / np.maximum(distance, _SMALLEST))[..., None]
    haze = random.uniform(0, 0.4) * far
    image = image + haze * (random.uniform(0.4, 0.85) - image)
    image += far * (cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 0.8)) - image)
    height, width = distance.shape
    down, across = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = random.uniform(0.8, 1.5) * (1 + random.uniform(-0.2, 0.2) * down + random.uniform(-0.2, 0.2) * across)
    image *= light[..., None].astype(np.float32) * random.uniform(0.88, 1.12, 3).astype(np.float32)
    grey = image.mean(2, keepdims=True)
    image = grey + random.uniform(0.5, 1.1) * (image - grey)
    image = np.clip(image, 0, 1) ** random.uniform(0.8, 1.2)
    image += random.uniform(0.005, 0.03) * random.standard_normal(image.shape, np.float32)
    pixels: Pixels = np.clip(255 * image + 0.5, 0, 255).astype(np.uint8)
    return pixels
