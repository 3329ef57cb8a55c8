"""What surrounds a drawn crowd: the ground, and what stands behind."""

import cv2
import numpy as np

from datamodules.types import Map

_SIDE = 256  # of the texture of noise


def draw_noise(random: np.random.Generator) -> Map:
    """Draw noise of all scales that continues itself across its borders.

    Args:
        random: Draws it.

    Returns:
        float32 ``[256, 256]`` of mean 0 and variance 1.
    """
    frequency = np.fft.fftfreq(_SIDE) * _SIDE
    radius = np.maximum(1, np.hypot(frequency[:, None], frequency))
    texture = np.fft.ifft2(np.fft.fft2(random.standard_normal((_SIDE, _SIDE))) / radius).real
    unit: Map = ((texture - texture.mean()) / texture.std()).astype(np.float32)
    return unit


def look_up(texture: Map, x: Map, y: Map) -> Map:
    """Look a texture up, which is continued periodically.

    Args:
        texture: ``[256, 256]``.
        x: Columns, ``[H, W]``.
        y: Rows, ``[H, W]``.

    Returns:
        Its values, interpolated, ``[H, W]``.
    """
    x, y = (x % _SIDE).astype(np.float32), (y % _SIDE).astype(np.float32)
    return cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).astype(np.float32, copy=False)


def draw_ground(across: Map, away: Map, size: Map, texture: Map, random: np.random.Generator) -> Map:
    """Draw the ground in perspective: paving, asphalt, grass or sand.

    Args:
        across: Where each pixel is on the ground, to the right, in head diameters, ``[H, W]``.
        away: The same, away from the viewer.
        size: Diameter in pixels of a head above it.
        texture: Noise.
        random: Draws what ground it is.

    Returns:
        RGB in [0, 1], ``[H, W, 3]``.
    """
    yaw = random.uniform(0, np.pi)
    x, y = across * np.cos(yaw) - away * np.sin(yaw), across * np.sin(yaw) + away * np.cos(yaw)
    distinct = np.clip(size / 10, 0.25, 1)  # details finer than a pixel cancel each other
    grain = look_up(texture, 20 * x, 20 * y) * distinct + 0.7 * look_up(texture, 1.5 * x, 1.5 * y)
    tones = ((0.45, 0.44, 0.43), (0.3, 0.3, 0.32), (0.3, 0.38, 0.2), (0.62, 0.54, 0.42), (0.55, 0.4, 0.34))
    colour = np.array(tones[random.integers(len(tones))], np.float32) * random.uniform(0.7, 1.3)
    light = 1 + random.uniform(0.08, 0.2) * grain
    if random.random() < 0.6:  # joints of paving, or rows
        tile = random.uniform(2, 9) * np.array([1, random.choice([1, 2, 20])])
        joints = np.minimum(*(np.abs(place / side % 1 - 0.5) * side for place, side in zip((x, y), tile, strict=True)))
        light -= 0.35 * np.clip(1.2 - joints * np.maximum(size, 5) / 2, 0, 1) * distinct
        checks = (np.floor(x / tile[0] + 0.5) + np.floor(y / tile[1] + 0.5)) % 2
        light += random.choice([0, 0.25]) * (checks - 0.5) * distinct
    if random.random() < 0.3:  # painted lines
        light += (np.abs(x % random.uniform(20, 60)) < 0.6) * distinct
    return np.clip(colour * light[..., None], 0, 1).astype(np.float32)


def draw_backdrop(height: int, width: int, texture: Map, random: np.random.Generator) -> Map:
    """Draw what stands behind a crowd: sky, and before it houses, trees, empty seats and walls side by side.

    Args:
        height: In pixels.
        width: In pixels.
        texture: Noise.
        random: Draws what is there.

    Returns:
        RGB in [0, 1], ``[height, width, 3]``.
    """
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    clouds = 0.12 * look_up(texture, columns / 2, rows)
    sky = np.array(random.choice([(0.55, 0.7, 0.9), (0.8, 0.8, 0.8), (0.12, 0.12, 0.2)]))
    image: Map = np.clip(sky + (clouds + 0.2 * rows / height)[..., None], 0, 1).astype(np.float32)
    left = 0
    while left < width:
        right = min(width, left + int(random.uniform(25, 160)))
        kind = (_draw_houses, _draw_trees, _draw_seats, _draw_wall)[random.choice(4, p=[0.35, 0.35, 0.15, 0.15])]
        part, top = kind(rows[:, left:right], columns[:, left:right], texture, random)
        covered = rows[:, left:right] >= height * (1 - top)
        image[:, left:right][covered] = part[covered].clip(0, 1)
        left = right
    return image


def _draw_houses(rows: Map, columns: Map, texture: Map, random: np.random.Generator) -> tuple[Map, Map]:
    pitch, storey = random.uniform(5, 14), random.uniform(6, 16)
    window = (columns % pitch < pitch * random.uniform(0.3, 0.7)) & (rows % storey < storey * random.uniform(0.4, 0.8))
    lit = look_up(texture, np.floor(columns / pitch) * 37, np.floor(rows / storey) * 53) > random.uniform(-1, 2)
    wall = random.uniform(0.25, 0.8) * np.array([1, random.uniform(0.8, 1), random.uniform(0.65, 1)])
    glass = np.where(lit[..., None], random.uniform(0.5, 1) * np.array([1, 0.9, 0.7]), 0.15)
    plain = wall * (1 + 0.06 * look_up(texture, columns * 3, rows * 3))[..., None]
    return np.where(window[..., None], glass, plain).astype(np.float32), np.full_like(rows, random.uniform(0.5, 1.2))


def _draw_trees(rows: Map, columns: Map, texture: Map, random: np.random.Generator) -> tuple[Map, Map]:
    clumps = look_up(texture, columns * random.uniform(2, 6), rows * random.uniform(2, 6))
    leaves = 0.5 * clumps + 0.6 * look_up(texture, columns * 19, rows * 23)
    green = np.array([0.2, 0.27, 0.11]) * random.uniform(0.6, 1.5)
    along = (columns - columns.min()) / columns.shape[1]
    crowns = np.abs(np.sin(np.pi * random.integers(1, 4) * along)) ** 0.4
    bumps = random.uniform(0.4, 1.1) * crowns + 0.04 * look_up(texture, columns * 3, rows * 3)
    return (green * np.clip(1 + 0.5 * leaves, 0.1, 3)[..., None]).astype(np.float32), bumps


def _draw_seats(rows: Map, columns: Map, texture: Map, random: np.random.Generator) -> tuple[Map, Map]:
    pitch = random.uniform(3.5, 8)
    shift = np.floor(rows / pitch) % 2 * 0.5
    round_backs = np.hypot((columns / pitch + shift) % 1 - 0.5, rows / pitch % 1 - 0.5) < random.uniform(0.3, 0.45)
    colours = random.uniform(0.1, 0.9, (2, 3))
    light = 1 + 0.1 * look_up(texture, columns * 7, rows * 7)
    part = np.where(round_backs[..., None], colours[0], colours[1] * 0.5) * light[..., None]
    return part.astype(np.float32), np.full_like(rows, random.uniform(0.3, 0.7))


def _draw_wall(rows: Map, columns: Map, texture: Map, random: np.random.Generator) -> tuple[Map, Map]:
    light = 1 + 0.1 * look_up(texture, columns * 2, rows * 5) - 0.3 * (columns % random.uniform(8, 30) < 1.5)
    colour = random.uniform(0.15, 0.85, 3)
    return (colour * light[..., None]).astype(np.float32), np.full_like(rows, random.uniform(0.15, 0.6))
