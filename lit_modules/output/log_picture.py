"""Where pictures go: TensorBoard, and the results' folder."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from lit_modules.output.whole_file import whole_file


def log_picture(trainer: Trainer, tag: str, picture: Tensor) -> None:
    """Log a picture to every TensorBoard logger; while testing also write it as PNG below ``<log_dir>/pictures``.

    Args:
        trainer: The running trainer.
        tag: Name of the picture; slashes make folders.
        picture: RGB, uint8 ``[3, H, W]``.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, picture, trainer.global_step)
    folder = next((logger.log_dir for logger in trainer.loggers if logger.log_dir), None)
    if trainer.testing and folder is not None:
        save_picture(Path(folder) / "pictures" / f"{tag}.png", picture)


def save_picture(path: Path, picture: Tensor) -> None:
    """Write a picture as PNG; the file appears whole or not at all.

    Args:
        path: The file; its folder is made.
        picture: RGB, uint8 ``[3, H, W]``.
    """
    with whole_file(path) as unfinished:
        Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(unfinished, format="PNG")
