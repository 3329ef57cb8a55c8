"""Patches of several data modules in one training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import CleanPhotosDataModule, DataError, SIDDDataModule
from datamodules.batches import RestorationBatch
from tests.support.restoration_files import write_sidd

PATCHES = {"patch_size": 24, "num_workers": 0, "val_fraction": 0.25}


class Black:
    """Degrades to nothing."""

    def __call__(self, image: np.ndarray, random: np.random.Generator) -> np.ndarray:
        return np.zeros_like(image)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 32), (255, 10 * number, 0)).save(folder / f"{number}.png")
    return folder


def clean_photos(folder: Path, **arguments: Any) -> CleanPhotosDataModule:
    shares = {"test_fraction": 0.25, "cache_dir": str(folder.parent / "converted")}
    options = {**PATCHES, **shares, "degradation": Black(), "patches_per_image": 5, **arguments}
    return CleanPhotosDataModule(clean_dir=str(folder), **options)


def test_all_patches_are_trained_on_and_nothing_else_changes(tmp_path: Path, photographs: Path) -> None:
    """Patches of red photographs turned black come with those of the noisy ones, in an order that mixes them."""
    root = write_sidd(tmp_path / "sidd")
    alone = SIDDDataModule(str(root), **PATCHES, batch_size=4, patches_per_image=3, block_size=32)
    mixed = SIDDDataModule(
        str(root), **PATCHES, batch_size=4, patches_per_image=3, block_size=32, mix_with=[clean_photos(photographs)]
    )
    for data in (alone, mixed):
        data.setup("fit")
    torch.manual_seed(0)
    batches: list[RestorationBatch] = list(mixed.train_dataloader())
    black = [bool((image == 0).all()) for batch in batches for image in batch.image]
    red = [bool((target[0] == 1).all()) for batch in batches for target in batch.target]
    assert black == red
    assert sum(black) == 2 * 5, "of two photographs, for one is held out for validation and one for test"
    assert len(black) - sum(black) == sum(len(batch.id) for batch in alone.train_dataloader())
    assert black != sorted(black) and black != sorted(black, reverse=True)
    for split in ("val", "test"):
        ids = [
            [name for batch in getattr(data, f"{split}_dataloader")() for name in batch.id] for data in (alone, mixed)
        ]
        assert ids[0] == ids[1]


def test_patches_of_another_size_are_refused(tmp_path: Path, photographs: Path) -> None:
    other = clean_photos(photographs, patch_size=16)
    data = SIDDDataModule(str(write_sidd(tmp_path / "sidd")), **PATCHES, block_size=32, mix_with=[other])
    with pytest.raises(DataError, match="mix_with: CleanPhotosDataModule must have patch_size=24 as well, got 16"):
        data.setup("fit")


def test_other_channels_are_refused(photographs: Path) -> None:
    data = clean_photos(photographs, mix_with=[clean_photos(photographs, channels=1)])
    with pytest.raises(DataError, match="mix_with: CleanPhotosDataModule must have channels=3 as well, got 1"):
        data.setup("fit")
