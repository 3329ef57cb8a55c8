"""Shaded shapes of which figures in drawn scenes are made.

A figure is a stack of convex shapes about its head. Their corners are (x, y) in head diameters from the middle of the
head, y downwards; :func:`put` brings them to where the figures are. First all shapes are drawn into a map that says
which of them is seen at each point, so that what is left of each can be counted; then all points are coloured.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from datamodules.types import Map

Flags = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int32]
FINE = 2  # points of the map along one pixel of the image
_BINARY_PLACES = 4  # in the coordinates OpenCV is given


class Figures(NamedTuple):
    """Where N figures are.

    Attributes:
        middle: Positions (x, y) of their heads in pixels, ``[N, 2]``.
        size: Diameters of their heads in pixels, ``[N, 1]``.
        lean: How far they lean to the right, x per y, ``[N, 1]``.
        nearness: Nearer figures have a larger one, ``[N]``.
    """

    middle: Map
    size: Map
    lean: Map
    nearness: Map


class Shapes(NamedTuple):
    """One shape of each of N figures, such as the torsos of all.

    Attributes:
        corners: Of convex polygons, (x, y) in pixels, ``[N, K, 2]``.
        shown: Which figures have this shape, ``[N]``.
        nearness: Of the figures, ``[N]``.
        colour: RGB, in light of 1, ``[N, 3]``.
        stripes: RGB of every other stripe, ``[N, 3]``.
        waves: Stripes across and down in a length of two head diameters, ``[N, 2]``.
        middle: Of the ellipsoid as which the shape is lit, in pixels, ``[N, 2]``.
        radii: Of that ellipsoid, in pixels, ``[N, 2]``.
        rough: Contrast of its grain, ``[N, 1]``.
        fade: Share of the light that is lost per head diameter down from the middle, ``[N, 1]``.
        size: Diameters of the figures' heads in pixels, ``[N, 1]``.
    """

    corners: Map
    shown: Flags
    nearness: Map
    colour: Map
    stripes: Map
    waves: Map
    middle: Map
    radii: Map
    rough: Map
    fade: Map
    size: Map


def make_arc(width: float, height: float, start: float = 0, stop: float = 360, x: float = 0, y: float = 0) -> Map:
    """Make an ellipse, or what a chord cuts off it.

    Args:
        width: Of the ellipse.
        height: Of the ellipse.
        start: Angle at which it begins, in degrees, from the right by way of below.
        stop: Angle at which it ends.
        x: Of the ellipse's middle.
        y: Of the ellipse's middle.

    Returns:
        Corners, ``[16, 2]``.
    """
    angles = np.radians(np.linspace(start, stop, 16, endpoint=stop - start < 360))
    return np.stack([x + width / 2 * np.cos(angles), y + height / 2 * np.sin(angles)], 1).astype(np.float32)


def make_limb(start: Map, end: Map, width: float) -> Map:
    """Make a straight limb, round where it begins.

    Args:
        start: Where it begins, ``[N, 2]``.
        end: Where it ends, ``[N, 2]``.
        width: Its width.

    Returns:
        Corners, ``[N, 6, 2]``.
    """
    along = (end - start) * (width / 2 / np.linalg.norm(end - start, axis=1, keepdims=True))
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    round_start = [start - across, start - 0.6 * across - 0.7 * along, start + 0.6 * across - 0.7 * along]
    corners = [*round_start, start + across, end + 0.75 * across, end - 0.75 * across]
    return np.stack(corners, 1).astype(np.float32)


def put(
    figures: Figures,
    corners: npt.NDArray[np.floating],
    colour: npt.ArrayLike,
    radii: npt.ArrayLike,
    middle: npt.ArrayLike = (0, 0),
    *,
    shown: Flags | None = None,
    stripes: npt.ArrayLike | None = None,
    waves: npt.ArrayLike = (0, 0),
    rough: npt.ArrayLike = 0.15,
    fade: float = 0,
) -> Shapes:
    """Put one shape onto each figure.

    Args:
        figures: The figures.
        corners: Of a convex polygon, ``[K, 2]`` or ``[N, K, 2]``.
        colour: RGB, in light of 1, ``[N, 3]``.
        radii: Of the ellipsoid as which the shape is lit, ``[2]`` or ``[N, 2]``.
        middle: Of that ellipsoid, ``[2]`` or ``[N, 2]``.
        shown: Which figures have this shape, ``[N]``. Default: all.
        stripes: RGB of every other stripe, ``[N, 3]``. Default: ``colour``.
        waves: Stripes across and down in a length of two, ``[2]`` or ``[N, 2]``.
        rough: Contrast of the grain, a number or ``[N, 1]``.
        fade: Share of the light that is lost per unit of length down from the middle.

    Returns:
        The shapes.
    """
    count = len(figures.size)

    def spread(values: npt.ArrayLike, number: int) -> Map:
        return np.broadcast_to(np.asarray(values, np.float32), (count, number))

    upright = np.broadcast_to(corners.astype(np.float32), (count, *corners.shape[-2:]))
    leaning = upright + np.stack([figures.lean * upright[..., 1], np.zeros_like(upright[..., 1])], -1)
    return Shapes(
        corners=figures.middle[:, None] + figures.size[..., None] * leaning,
        shown=np.ones(count, bool) if shown is None else shown,
        nearness=figures.nearness,
        colour=spread(colour, 3),
        stripes=spread(colour if stripes is None else stripes, 3),
        waves=spread(waves, 2),
        middle=figures.middle + figures.size * spread(middle, 2),
        radii=figures.size * spread(radii, 2),
        rough=spread(rough, 1),
        fade=spread(fade, 1),
        size=figures.size,
    )


def draw(layers: list[Shapes], height: int, width: int) -> Labels:
    """Draw all shapes, those of nearer figures over those of farther ones, and of one figure later layers over earlier.

    Args:
        layers: The shapes.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        What is seen at each point, int32 ``[FINE · height, FINE · width]``: 0 where there is no shape, else a shape's
        number. Shapes are numbered from 1, layer by layer.
    """
    seen = np.zeros((FINE * height, FINE * width), np.int32)
    corners = [_to_fixed_point(layer.corners) for layer in layers]
    layer_of = np.concatenate([np.full(len(layer.shown), number) for number, layer in enumerate(layers)])
    figure_of = np.concatenate([np.arange(len(layer.shown)) for layer in layers])
    shown = np.concatenate([layer.shown for layer in layers])
    order = np.lexsort((layer_of, figure_of, np.concatenate([layer.nearness for layer in layers])))
    order = order[shown[order]]
    for label, layer, figure in zip(*((order + 1).tolist(), layer_of[order], figure_of[order]), strict=True):
        cv2.fillConvexPoly(seen, corners[layer][figure], label, shift=_BINARY_PLACES)
    return seen


def count_points(seen: Labels, layers: list[Shapes]) -> list[npt.NDArray[np.int64]]:
    """Count at how many points each shape is seen.

    Args:
        seen: What :func:`draw` made of the layers.
        layers: The layers.

    Returns:
        For each layer the number of points, ``[N]``.
    """
    ends = np.cumsum([len(layer.shown) for layer in layers])
    return np.split(np.bincount(seen.ravel(), minlength=int(ends[-1]) + 1)[1:], ends[:-1])


def paint(image: Map, seen: Labels, layers: list[Shapes], texture: Map, random: np.random.Generator) -> Map:
    """Paint shapes over an image. All are lit from one side, and less from everywhere.

    Args:
        image: RGB, ``[H, W, 3]``.
        seen: What :func:`draw` made of the layers.
        layers: The layers.
        texture: Noise of variance 1 for their grain, ``[S, S]``.
        random: Draws where the light comes from.

    Returns:
        RGB and, in a fourth channel, the diameter of the heads of the figure seen, 0 where there is none,
        ``[H, W, 4]``.
    """
    rows, columns = np.nonzero(seen)
    label = seen[rows, columns] - 1
    table = np.concatenate([np.concatenate(layer[3:], 1) for layer in layers])  # all from colour to size
    looks = np.take(np.ascontiguousarray(table.T), label, axis=1)
    colour, stripes, waves, middle, radii, (rough, fade, size) = np.split(looks, [3, 6, 8, 10, 12])

    offset = np.stack([columns, rows]).astype(np.float32) / FINE - (FINE - 1) / (2 * FINE) - middle
    x, y = offset / radii
    z = np.sqrt(np.clip(1 - x * x - y * y, 0.05, 1))
    light = np.array([random.normal(0, 0.6), -random.uniform(0.3, 1), random.uniform(0.3, 1)], np.float32)
    light /= np.linalg.norm(light)
    ambient = random.uniform(0.35, 0.75)
    brightness = ambient + (1.3 - ambient) * np.clip(x * light[0] + y * light[1] + z * light[2], 0, 1.2)

    across, down = offset / size
    brightness *= 1 - np.clip(fade * down, 0, 0.6)
    at = [(32 * place + 53 * label).astype(np.int32) % len(texture) for place in (across, down)]
    brightness *= 1 + rough * np.clip(texture[at[1], at[0]], -1.5, 1.5)
    odd = (np.floor(across * waves[0]) + np.floor(down * waves[1])) % 2 > 0

    fine = np.zeros((*seen.shape, 4), np.float32)
    fine[..., :3] = image.repeat(FINE, 0).repeat(FINE, 1)
    fine[rows, columns, :3] = (np.where(odd, stripes, colour) * brightness).T
    fine[rows, columns, 3] = size
    smaller = cv2.resize(fine, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_AREA)
    return smaller.astype(np.float32, copy=False)


def _to_fixed_point(corners: Map) -> npt.NDArray[np.int32]:
    """Turn corners into points of the map as OpenCV takes them, half a point further in: it fills as much beyond."""
    middle = corners.mean(1, keepdims=True)
    extent = np.maximum(FINE * np.ptp(corners, axis=1, keepdims=True), 2)
    inner = middle + (corners - middle) * (1 - 1 / extent)
    points = FINE * inner + (FINE - 1) / 2  # the middle of pixel 0 lies between points 0 and 1
    fixed: npt.NDArray[np.int32] = np.rint(points * 2**_BINARY_PLACES).astype(np.int32)
    return fixed
