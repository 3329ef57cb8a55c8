"""Where pictures go: TensorBoard, and the results' folder."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor


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
        path = Path(folder) / "pictures" / f"{tag}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()).save(path)
