"""Writes images to files."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor

from lit_modules.output.whole_file import whole_file


def png_path(folder: Path, name: str) -> Path:
    """Where a PNG file made of an image belongs.

    Args:
        folder: Holds the files of all images.
        name: The image's id, often its path in a folder of its own.

    Returns:
        ``a.png`` for ``a.png``, ``a.jpg.png`` for ``a.jpg``, and for ``a.jpg.png`` another one: no two for one file.
    """
    path = folder / name
    if path.suffix.lower() == ".png" and Path(path.stem).suffix.lower() not in Image.registered_extensions():
        return path
    return path.with_name(f"{path.name}.png")


def write_png(path: Path, image: Tensor, bits: int = 8, grey: bool = False) -> None:
    """Write an image to a PNG file that appears whole or not at all.

    Args:
        path: The file; its folder is made.
        image: RGB, ``[3, H, W]``, values in [0, 1]; they are rounded.
        bits: Of each channel, 8 or 16.
        grey: Write one channel, the mean of the three.
    """
    values = image.detach().float().cpu()
    values = values.mean(dim=0) if grey else values.flip(0).permute(1, 2, 0)  # OpenCV wants BGR
    levels = (values.clamp(0, 1) * (2**bits - 1)).round().numpy().astype(np.uint8 if bits == 8 else np.uint16)
    encoded, content = cv2.imencode(".png", levels)
    assert encoded
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.tobytes())
