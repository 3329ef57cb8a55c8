"""Images and pictures as files, and pictures in TensorBoard."""

import os
from pathlib import Path

import cv2
import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor

from lit_modules.output.result_files import shorten
from lit_modules.output.whole_file import whole_file

_LONGEST = 200  # in bytes, so that file systems take it with its ending


def png_path(folder: Path, name: str) -> Path:
    """Choose the path of a PNG file made of an image.

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
