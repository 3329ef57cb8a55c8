"""Small data in the layout of each experiment's."""

from pathlib import Path

import pytest

from datamodules.classification.imagenet_chunks import convert
from tests.support.crowd_files import write_shanghaitech, write_ucf_qnrf
from tests.support.image_files import write_cifar10, write_cifar100, write_imagenet, write_images
from tests.support.restoration_files import write_pairs, write_realsr, write_sidd


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_cifar10(folder, seed=0, per_file=20)
    write_cifar100(folder, seed=0, train=1000, test=100)
    write_imagenet(folder / "imagenet", seed=0)
    convert(str(folder / "imagenet"), str(folder / "imagenet_chunks"))
    write_imagenet(folder / "imagenet_as_published", raw_val=True, seed=0)
    write_shanghaitech(folder / "shanghaitech", "A", seed=0)
    write_shanghaitech(folder / "shanghaitech", "B", seed=0)
    write_ucf_qnrf(folder / "ucf_qnrf", seed=0)
    write_realsr(folder / "realsr", seed=0)
    write_sidd(folder / "sidd", seed=0)
    write_pairs(folder / "pairs", seed=0)
    write_pairs(folder / "grey_pairs", seed=0, channels=1)
    return folder


@pytest.fixture(scope="session")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A folder of a user's own images, and their ids."""
    folder = tmp_path_factory.mktemp("own_images")
    return folder, set(write_images(folder, seed=0))
