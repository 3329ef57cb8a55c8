"""People, and things that resemble their heads, for drawn scenes of crowds."""

import numpy as np
import numpy.typing as npt

from datamodules.crowd.drawing.shapes import Figures, Flags, Shapes, make_arc, make_limb, put
from datamodules.types import Map

Facing = npt.NDArray[np.int64]
FEET = 7.0  # how far below the middle of the head the feet stand, in head diameters, as all lengths here
HEAD = (0.9, 1.1)  # width and height of a head; their mean is its diameter

_SKIN = np.array([[236, 196, 170], [222, 175, 142], [196, 144, 108], [150, 102, 72], [104, 70, 50], [74, 48, 36]]) / 255
_HAIR = np.array([[18, 16, 16], [34, 25, 20], [62, 42, 28], [104, 72, 44], [170, 132, 82], [146, 144, 142]]) / 255
_HAIR_SHARES = (0.3, 0.27, 0.2, 0.1, 0.07, 0.06)
_TOWARDS, _AWAY, _LEFT, _RIGHT = range(4)
_FACES = 12  # diameter in pixels from which heads have eyes and a mouth

# Lowest and highest middle above the ground, smallest and largest width, height per width, contrast of the grain.
_THINGS = np.array(
    [
        (9, 16, 0.8, 1.5, 1, 0.05),  # lamp
        (0.9, 0.9, 1.2, 2, 1.3, 0.3),  # bag
        (1.5, 3, 0.7, 1.6, 0.9, 0.7),  # bush: the middle of its clumps of leaves
        (0.6, 0.6, 0.8, 1.4, 1, 0.1),  # ball
        (8, 12, 1.2, 1.8, 1, 0.05),  # round sign
        (7.5, 13, 1, 1.6, 1.25, 0.05),  # balloon
        (8.5, 10, 3, 6, 0.35, 0.15),  # parasol
        (3, 5, 0.7, 1, 1, 0.1),  # bollard
    ],
    np.float32,
)
_LAMP, _BAG, _BUSH = range(3)
_CLUMPS = 12


def make_people(figures: Figures, random: np.random.Generator) -> tuple[list[Shapes], list[Shapes]]:
    """Make up people.

    What they have in common is drawn first: where most of them look, how many wear hats or raise an arm, how
    colourful their clothes are.

    Args:
        figures: Where they are.
        random: Draws what they look like.

    Returns:
        Layers of their bodies, and those of their heads with hair and hats, to be drawn over the bodies.
    """
    count = len(figures.size)
    most = random.choice([_TOWARDS, _AWAY, _LEFT, _RIGHT], p=[0.35, 0.45, 0.1, 0.1])
    facing = np.where(random.random(count) < random.uniform(0.3, 0.95), most, random.integers(0, 4, count))
    skin = _vary(_SKIN[random.choice(6, count, p=random.dirichlet(np.ones(6)))], 0.12, random)
    hair = _vary(_HAIR[random.choice(6, count, p=_HAIR_SHARES)], 0.08, random)
    long_hair = random.random(count) < random.uniform(0.05, 0.5)
    colourful = random.uniform(0.1, 0.9)
    shirt = _make_cloth(count, colourful, random)
    raised = random.random((2, count)) < random.choice([0.02, 0.3]) * random.random()

    bodies = _make_legs(figures, _make_cloth(count, 0.15, random) * 0.7, random)
    bodies.append(_make_long_hair(figures, hair, long_hair & (facing != _AWAY)))
    bodies.append(_make_torso(figures, shirt, _make_cloth(count, colourful, random), random))
    for side, up in zip((-1, 1), raised, strict=True):
        bodies += _make_arm(figures, side, up, shirt, skin, random)
    bodies.append(put(figures, make_arc(0.5, 0.8, y=0.55), skin * 0.8, (0.5, 1), (0, 0.2), fade=0.3))
    bodies.append(_make_long_hair(figures, hair, long_hair & (facing == _AWAY)))

    bald = ~long_hair & (random.random(count) < 0.08)
    heads = [
        *_make_face(figures, facing, skin),
        _make_short_hair(figures, facing, hair, ~bald),
        *_make_hat(figures, facing, random),
    ]
    return bodies, heads


def make_things(figures: Figures, random: np.random.Generator) -> list[Shapes]:
    """Make up things that resemble heads: round ones on poles, round ones on the ground, and bushes.

    Args:
        figures: Where people would be in their places.
        random: Draws what they are.

    Returns:
        Their layers.
    """
    count = len(figures.size)
    kind = random.integers(0, len(_THINGS), count)
    low, high, narrow, wide, ratio, rough = _THINGS[kind].T
    height = low + (high - low) * random.random(count, np.float32)
    width = narrow + (wide - narrow) * random.random(count, np.float32)
    colour = random.random((count, 3), np.float32)
    shade = random.uniform(0.4, 1.5, (count, 1)).astype(np.float32)
    for special, tone in ((_LAMP, (1, 0.95, 0.85)), (_BAG, (0.2, 0.2, 0.2)), (_BUSH, (0.25, 0.33, 0.13))):
        colour = np.where((kind == special)[:, None], np.array(tone, np.float32) * shade, colour)

    middle = np.stack([np.zeros_like(height), FEET - height], 1)
    radii = np.stack([width, width * ratio], 1) / 2
    pole = make_limb(np.full_like(middle, (0, FEET)), middle, 0.2)
    layers = [put(figures, pole, colour * 0.4, (0.3, 30), shown=kind != _BUSH)]
    for number in range(_CLUMPS):
        apart = np.where(kind[:, None] == _BUSH, random.normal(0, 0.8, (count, 2)), 0)
        apart[:, 1] = np.minimum(apart[:, 1], height - radii[:, 1])  # not into the ground
        corners = (middle + apart)[:, None] + make_arc(2, 2) * radii[:, None]
        shaded = _vary(colour, 0.15, random)
        shown = (kind == _BUSH) | (number == 0)
        layers.append(put(figures, corners, shaded, radii, middle + apart, shown=shown, rough=rough[:, None]))
    return layers


def _make_legs(figures: Figures, colour: Map, random: np.random.Generator) -> list[Shapes]:
    count, legs = len(figures.size), []
    for side in (-1, 1):
        hip = np.full((count, 2), (0.38 * side, 3.3), np.float32)
        foot = np.stack([0.4 * side + random.normal(0, 0.2, count), np.full(count, FEET)], 1).astype(np.float32)
        legs.append(put(figures, make_limb(hip, foot, 0.75), colour, (0.8, 30), (0.3 * side, 0), fade=0.1))
    return legs


def _make_torso(figures: Figures, shirt: Map, trimming: Map, random: np.random.Generator) -> Shapes:
    count = len(figures.size)
    right = np.array([(0.3, 0.5), (0.62, 0.62), (0.84, 0.82), (0.95, 1.15), (0.95, 1.7), (0.82, 2.8), (0.84, 3.9)])
    breadth = np.stack([random.uniform(0.9, 1.12, count), np.ones(count)], 1)[:, None]
    corners = np.concatenate([right, right[::-1] * (-1, 1)]) * breadth
    waves = random.uniform(1.6, 7, (count, 2)) * random.choice([0, 0, 1], (count, 2))
    return put(figures, corners, shirt, (1.2, 20), stripes=trimming, waves=waves, rough=0.2, fade=0.16)


def _make_arm(
    figures: Figures, side: int, raised: Flags, shirt: Map, skin: Map, random: np.random.Generator
) -> list[Shapes]:
    count = len(figures.size)
    shoulder = np.full((count, 2), (0.76 * side, 1.0), np.float32)
    down = np.where(raised, random.uniform(-1.6, 0.1, count), random.uniform(2.6, 3.9, count))
    hand = np.stack([side * random.uniform(0.5, 1.5, count), down], 1).astype(np.float32)
    sleeve = np.where(random.random((count, 1)) < 0.4, skin, shirt * 0.9)
    return [
        put(figures, make_limb(shoulder, hand, 0.52), sleeve, (1.5, 20), fade=0.12),
        put(figures, hand[:, None] + make_arc(0.42, 0.5), skin, (1.5, 20), fade=0.12),
    ]


def _make_long_hair(figures: Figures, colour: Map, shown: Flags) -> Shapes:
    return put(figures, make_arc(1.15, 1.9, y=0.25), colour, (0.6, 1), (0, 0.2), shown=shown, rough=0.25, fade=0.15)


def _make_face(figures: Figures, facing: Facing, skin: Map) -> list[Shapes]:
    seen = (figures.size[:, 0] > _FACES) & (facing == _TOWARDS)
    black = np.zeros_like(skin)
    flat = (9, 9)
    return [
        put(figures, make_arc(*HEAD), skin, (0.5, 0.6)),
        *(put(figures, make_arc(0.12, 0.08, x=x, y=0.02), black, flat, shown=seen) for x in (-0.18, 0.18)),
        put(figures, make_arc(0.3, 0.07, y=0.32), skin * (0.7, 0.4, 0.4), flat, shown=seen),
    ]


def _make_short_hair(figures: Figures, facing: Facing, colour: Map, shown: Flags) -> Shapes:
    """Make hair: the upper part of heads turned to the viewer, all of those turned away, the rear of others."""
    parts = {_TOWARDS: (195, 345), _AWAY: (0, 360), _LEFT: (200, 420), _RIGHT: (120, 340)}
    caps = np.stack([make_arc(0.98, 1.18, *parts[way]) for way in sorted(parts)])
    return put(figures, caps[facing], colour, (0.52, 0.62), shown=shown, rough=0.25)


def _make_hat(figures: Figures, facing: Facing, random: np.random.Generator) -> list[Shapes]:
    count = len(figures.size)
    worn = random.random(count) < random.choice([0.05, 0.2, 0.5])
    brimmed = worn & (random.random(count) < 0.7)
    colour = _make_cloth(count, 0.5, random)
    ahead = np.array([0, 0, -0.2, 0.2])[facing]
    brim = make_arc(1.5, 0.3, y=-0.22) + np.stack([ahead, np.zeros_like(ahead)], 1)[:, None]
    return [
        put(figures, make_arc(1.02, 1.2, 180, 360, y=-0.1), colour, (0.54, 0.7), shown=worn, rough=0.2),
        put(figures, brim, colour * 0.8, (0.8, 0.8), shown=brimmed),
    ]


def _make_cloth(count: int, colourful: float, random: np.random.Generator) -> Map:
    """Draw colours of cloth, from black to white and from grey to bright, ``[count, 3]``."""
    brightness = random.beta(1.1, 1.3, (count, 1))
    hue = random.random((count, 1)) + np.array([0, 1 / 3, 2 / 3])
    saturation = colourful * random.random((count, 1))
    cloth: Map = (brightness * (1 - saturation * (0.5 - 0.5 * np.cos(2 * np.pi * hue)))).astype(np.float32)
    return cloth


def _vary(colours: npt.NDArray[np.floating], spread: float, random: np.random.Generator) -> Map:
    """Make colours brighter and darker at random."""
    return np.clip(colours * random.normal(1, spread, (len(colours), 1)), 0, 1.5).astype(np.float32)
