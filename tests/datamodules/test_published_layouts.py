"""Published data is found where people have it: the folder itself, the one above, or what an archive makes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules import (
    CIFAR10DataModule,
    CIFAR100DataModule,
    ImageNetDataModule,
    RealSRDataModule,
    ShanghaiTechDataModule,
    SIDDDataModule,
    UCFQNRFDataModule,
)
from datamodules.base import ImageDataModule
from tests.support.crowd_files import write_shanghaitech, write_ucf_qnrf
from tests.support.image_files import write_cifar10, write_cifar100, write_imagenet
from tests.support.restoration_files import write_realsr, write_sidd

SMALL: dict[str, Any] = {"num_workers": 0, "val_fraction": 0.5}
Module = Callable[[str], ImageDataModule]


def realsr(data_dir: str) -> RealSRDataModule:
    return RealSRDataModule(data_dir, scale=2, patch_size=24, **SMALL)


def sidd(data_dir: str) -> SIDDDataModule:
    return SIDDDataModule(data_dir, patch_size=24, block_size=32, **SMALL)


def ucf_qnrf(data_dir: str) -> UCFQNRFDataModule:
    return UCFQNRFDataModule(data_dir, resize="none", **SMALL)


def write_one_realsr(root: Path) -> None:
    write_realsr(root, scales=(2,), train=2, test=2)


def write_one_imagenet(root: Path) -> None:
    write_imagenet(root / "ILSVRC/Data/CLS-LOC", raw_val=True)


def write_part(root: Path, part_name: str = "part_{}") -> None:
    write_shanghaitech(root, train=3, test=2, part_name=part_name)


LAYOUTS: dict[str, tuple[Callable[[Path], object], Module, str, tuple[str, ...]]] = {
    "cifar10": (write_cifar10, lambda root: CIFAR10DataModule(root, **SMALL), "cifar10", (".", "cifar-10-batches-py")),
    "cifar100": (write_cifar100, lambda root: CIFAR100DataModule(root, **SMALL), "sets", (".", "cifar-100-python")),
    "imagenet": (
        write_one_imagenet,
        lambda root: ImageNetDataModule(root, **SMALL),
        "imagenet-object-localization-challenge",
        ("ILSVRC/Data/CLS-LOC", "ILSVRC/Data", "ILSVRC", "."),
    ),
    "realsr": (write_one_realsr, realsr, "RealSR/RealSR(V3)", (".",)),
    "shanghaitech": (
        write_part,
        lambda root: ShanghaiTechDataModule(root, **SMALL),
        "ShanghaiTech_Crowd_Counting_Dataset",
        (".", "part_A"),
    ),
    "shanghaitech_final": (
        lambda root: write_part(root, "part_{}_final"),
        lambda root: ShanghaiTechDataModule(root, **SMALL),
        "ShanghaiTech",
        (".", "part_A_final"),
    ),
    "sidd": (write_sidd, sidd, "downloads", (".", "SIDD_Medium_Srgb", "SIDD_Medium_Srgb/Data")),
    "ucf_qnrf": (
        write_ucf_qnrf,
        lambda root: UCFQNRFDataModule(root, resize="none", **SMALL),
        "UCF-QNRF_ECCV18",
        (".",),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_found_from_every_folder_it_lies_in(tmp_path: Path, layout: str) -> None:
    write, module, above, places = LAYOUTS[layout]
    write(tmp_path / "data" / above)
    folders = [tmp_path / "data" / above / place for place in places]
    folders += [tmp_path / "data", tmp_path / "data" / above.partition("/")[0]]
    counts = {tuple(len(samples) for samples in made(module(str(folder)))) for folder in folders}
    assert len(counts) == 1
    assert min(counts.pop()) > 0


def made(data: ImageDataModule) -> list[list[object]]:
    return [list(range(len(getattr(data, f"{split}_samples")()))) for split in ("train", "val", "test")]


def test_ids_are_relative_to_where_it_was_found(tmp_path: Path) -> None:
    write_one_imagenet(tmp_path)
    data = ImageNetDataModule(str(tmp_path), **SMALL)
    assert data.train_samples()[0].id[0].startswith("train/n")
    assert data.test_samples()[0].id[0].startswith("val/ILSVRC2012_val_")


def test_the_development_kit_may_lie_above(tmp_path: Path) -> None:
    write_one_imagenet(tmp_path)
    kit = "ILSVRC2012_devkit_t12"
    (tmp_path / "ILSVRC/Data/CLS-LOC" / kit).rename(tmp_path / kit)
    data = ImageNetDataModule(str(tmp_path), **SMALL)
    assert len(data.test_samples()) == 20
    assert "banana" in data.class_names


def test_a_folder_of_many_data_sets_gives_each_its_own(tmp_path: Path) -> None:
    """``Train`` and ``Test`` are of RealSR and of UCF-QNRF, ``train`` of ImageNet and a file of CIFAR-100."""
    write_realsr(tmp_path / "realsr", scales=(2,), train=2, test=2, layout="{split}/{camera}")
    write_ucf_qnrf(tmp_path / "ucf")
    write_imagenet(tmp_path / "imagenet")
    write_cifar100(tmp_path)
    write_part(tmp_path)
    (tmp_path / "other" / "train" / "cats").mkdir(parents=True)
    for name in ("realsr", "ucf_qnrf", "imagenet", "cifar100", "shanghaitech"):
        assert all(made(LAYOUTS[name][1](str(tmp_path)))), name
