from pathlib import Path

from lightning.pytorch import Trainer

from acda.models import LeNet
from lit_modules import ClassificationTask
from lit_modules.callbacks import PictureLogger
from tests.lit_modules.conftest import logged_images, small_digits


def test_pictures_stop_at_their_number(tmp_path: Path, trainer: Trainer) -> None:
    trainer.callbacks.append(PictureLogger(num_pictures=3))
    trainer.test(ClassificationTask(LeNet(10, 1, 8, kernel_size=3, padding=1), 10), small_digits(), verbose=False)
    assert len([tag for tag in logged_images(tmp_path / "run") if tag.startswith("test_pictures/")]) == 3
