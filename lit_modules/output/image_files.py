"""Images and pictures as files, and pictures in TensorBoard."""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor

from lit_modules.output.result_files import shorten
from lit_modules.output.whole_file import whole_file

_PNG_CHANNELS = (1, 3)
_PNG_HEADER = 33  # bytes, up to which a file says its size and kind
_LONGEST = 200  # in bytes, so that file systems take it with its ending


def png_path(folder: Path, name: str) -> Path:
    """Choose the path of a PNG file made of an image.

    Args:
        folder: Holds the files of all images.
        name: The image's id, often its path in a folder of its own.

    Returns:
        ``a.png`` for ``a.png``, ``a.jpg.png`` for ``a.jpg``, and for ``a.jpg.png`` another one: no two for one file.
    """
    return _with_suffix(folder / name, ".png")


def restored_path(folder: Path, name: str, channels: int) -> Path:
    """Choose the path of a file for a restored image, see :func:`png_path`; TIFF for other than one or three channels.

    Args:
        folder: Holds the files of all images.
        name: The image's id.
        channels: Of the image.

    Returns:
        The path.
    """
    return _with_suffix(folder / name, ".png" if channels in _PNG_CHANNELS else ".tif")


def write_restored(path: Path, image: Tensor, bits: int = 8, grey: bool = False, profile: bytes = b"") -> None:
    """Write a restored image to a file that appears whole or not at all: PNG, or a TIFF with a page for each channel.

    Args:
        path: As of :func:`restored_path`.
        image: ``[C, H, W]``, values in [0, 1]; they are rounded.
        bits: Of each channel, 8 or 16.
        grey: Write one channel of three, their mean.
        profile: ICC profile that says which colours the values stand for; empty for none.
    """
    if len(image) in _PNG_CHANNELS:
        write_png(path, image, bits, grey, profile)
        return
    pages = [Image.fromarray(page) for page in _to_levels(image, bits)]
    content = BytesIO()
    pages[0].save(content, "TIFF", save_all=True, append_images=pages[1:])
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.getvalue())


def write_png(path: Path, image: Tensor, bits: int = 8, grey: bool = False, profile: bytes = b"") -> None:
    """Write an image to a PNG file that appears whole or not at all.

    Args:
        path: The file; its folder is made.
        image: RGB, ``[3, H, W]``, or of one channel; values in [0, 1], they are rounded.
        bits: Of each channel, 8 or 16.
        grey: Write one channel, the mean of the three.
        profile: As of :func:`write_restored`.
    """
    levels = _to_levels(image.detach().float().mean(dim=0, keepdim=True) if grey else image, bits)
    encoded, content = cv2.imencode(".png", np.ascontiguousarray(levels[::-1].transpose(1, 2, 0)))  # it wants BGR
    assert encoded
    with whole_file(path) as unfinished:
        unfinished.write_bytes(_add_profile(content.tobytes(), profile))


def save_picture(path: Path, picture: Tensor) -> None:
    """Write a picture as PNG; the file appears whole or not at all.

    Args:
        path: The file; its folder is made.
        picture: RGB, uint8 ``[3, H, W]``.
    """
    with whole_file(path) as unfinished:
        Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(unfinished, format="PNG")


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Tell whether a validation is one to log pictures of.

    Args:
        trainer: The running trainer.
        every_n_epochs: While training, in every n-th epoch only.

    Returns:
        Always true where nothing is trained, and false in the check before a training.
    """
    if trainer.sanity_checking:
        return False
    return trainer.state.fn != TrainerFn.FITTING or trainer.current_epoch % every_n_epochs == 0


def log_picture(trainer: Trainer, tag: str, picture: Tensor) -> None:
    """Log a picture to every TensorBoard logger; while testing also write it as PNG below ``<log_dir>/pictures``.

    Args:
        trainer: The running trainer.
        tag: Name of the picture; slashes make folders.
        picture: RGB, uint8 ``[3, H, W]``.
    """
    shown = tag.encode("utf-8", "backslashreplace").decode()  # a file's name need not be UTF-8, what is logged must be
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(shown, picture, trainer.global_step)
    folder = next((logger.log_dir for logger in trainer.loggers if logger.log_dir), None)
    if trainer.testing and folder is not None:
        above, _, name = tag.rpartition("/")
        short = name if len(os.fsencode(name)) <= _LONGEST else shorten(name)
        save_picture(Path(folder, "pictures", above, f"{short}.png"), picture)


def _add_profile(png: bytes, profile: bytes) -> bytes:
    """Put an ICC profile behind the header of a PNG file: OpenCV writes none, Pillow not 16 bits in colour."""
    if not profile:
        return png
    chunk = b"iCCPICC profile\0\0" + zlib.compress(profile)
    length, check = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return png[:_PNG_HEADER] + length + chunk + check + png[_PNG_HEADER:]


def _with_suffix(path: Path, suffix: str) -> Path:
    if path.suffix.lower() == suffix and Path(path.stem).suffix.lower() not in Image.registered_extensions():
        return path
    return path.with_name(f"{path.name}{suffix}")


def _to_levels(image: Tensor, bits: int) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Round values in [0, 1] to levels of 8 or 16 bits, ``[C, H, W]``; channel by channel, for images may be large."""
    levels = np.empty(image.shape, np.uint8 if bits == 8 else np.uint16)
    for channel, rounded in zip(image.detach(), levels, strict=True):
        rounded[...] = channel.float().cpu().clamp(0, 1).mul_(2**bits - 1).round_().numpy()
    return levels
