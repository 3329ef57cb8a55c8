"""Traces of compression as a step of a degradation."""

import cv2
import numpy as np

from datamodules.errors import DataError, refuse
from datamodules.restoration.degradations.camera import to_bytes
from datamodules.restoration.degradations.ranges import as_range
from datamodules.types import Map


class JPEG:
    """Compression with loss: an image is written as JPEG and read again, in memory. For grey or RGB images, of 8 bits.

    Args:
        quality: As libjpeg has it, 1 to 100: one number, or the lowest and the highest, between which that of each
            image is drawn, a whole number. Default: 30 to 90.

    Raises:
        ValueError: If ``quality`` is out of range or descends.
        DataError: When it is called, if an image has other than one or three channels.
    """

    def __init__(self, quality: int | tuple[int, int] = (30, 90)) -> None:
        self._quality = as_range("quality", quality, 1, 100)

    def __call__(self, image: Map, random: np.random.Generator) -> Map:
        """Compress an image, float32 ``[H, W, 1]`` or ``[H, W, 3]``."""
        if image.shape[2] not in (1, 3):
            refuse("channels", image.shape[2], "1 or 3 for JPEG", DataError)
        low, high = self._quality
        quality = int(random.integers(int(low), int(high), endpoint=True))
        encoded, content = cv2.imencode(".jpg", to_bytes(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
        pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        assert encoded and pixels is not None
        compressed: Map = pixels.reshape(image.shape)[..., ::-1].astype(np.float32) / np.float32(255)
        return compressed
