"""Pairs of a user in two folders, what their files hold, and what the data module makes of them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from lightning.pytorch import LightningDataModule

from datamodules import PairedFoldersDataModule
from datamodules.batches import RestorationBatch
from tests.support.restoration_files import write_pairs


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs")


def module(root: Path, **arguments: Any) -> PairedFoldersDataModule:
    small = {"num_workers": 0, "batch_size": 4, "patch_size": 24, "patches_per_image": 3}
    small |= {"val_fraction": 0.3, "test_fraction": 0.3} if "test_clean_dir" not in arguments else {}
    folders = {"degraded_dir": str(root / "degraded"), "clean_dir": str(root / "clean")}
    return PairedFoldersDataModule(**({"cache_dir": str(root.parent / "cache")} | small | folders | arguments))


def all_of(data: LightningDataModule, split: str) -> list[RestorationBatch]:
    return list(getattr(data, f"{split}_dataloader")())


def held_out(data: LightningDataModule) -> list[RestorationBatch]:
    """All but what is trained on, image by image."""
    return all_of(data, "val") + all_of(data, "test")


def names_of(batches: list[RestorationBatch]) -> set[str]:
    return {name for batch in batches for name in batch.id}


def stored(path: Path) -> npt.NDArray[Any]:
    """All that a file holds, RGB or grey, ``[H, W, C]``, in [0, 1]."""
    if path.suffix == ".npy":
        pixels = np.load(path)
    else:
        pixels = np.atleast_3d(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))[..., ::-1]
    return pixels / np.iinfo(pixels.dtype).max
