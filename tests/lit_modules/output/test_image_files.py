from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from lit_modules.output import log_picture, png_path
from tests.lit_modules.conftest import logged_images


def test_no_two_images_share_a_file() -> None:
    names = ["a.png", "a.jpg", "a.jpg.png", "a.jpg.png.png", "a.png.png", "a.png.jpg", "b/a.png", "a.b.png"]
    assert len({png_path(Path("folder"), name) for name in names}) == len(names)


@pytest.mark.parametrize("name", ["é" * 120, "n" * 300, "latin1-\udce9", "line\nbreak", "50%{}"])
def test_pictures_are_logged_whatever_their_names(tmp_path: Path, trainer: Trainer, name: str) -> None:
    trainer.testing = True
    for end in "ab":
        log_picture(trainer, f"pictures/{name}{end}", torch.zeros(3, 4, 4, dtype=torch.uint8))
    trainer.loggers[0].finalize("success")
    assert len(logged_images(tmp_path / "run")) == 2
    assert len(list((tmp_path / "run" / "pictures" / "pictures").glob("*.png"))) == 2
