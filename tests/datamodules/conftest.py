"""Small data sets, written once."""

from pathlib import Path

import pytest

from tests.support.image_files import ImageFiles, write_cifar10, write_cifar100, write_imagenet, write_images


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both CIFARs; not to be changed."""
    root = tmp_path_factory.mktemp("cifar")
    write_cifar10(root)
    write_cifar100(root)
    return root


@pytest.fixture(scope="session")
def odd_images(tmp_path_factory: pytest.TempPathFactory) -> ImageFiles:
    """A folder of images of all kinds, and what they read as; not to be changed."""
    folder = tmp_path_factory.mktemp("images")
    return folder, write_images(folder)


@pytest.fixture(scope="session")
def imagenet_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small ImageNet in class folders; not to be changed."""
    return write_imagenet(tmp_path_factory.mktemp("imagenet"))


@pytest.fixture(scope="session")
def raw_imagenet_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images, those for validation as published; not to be changed."""
    return write_imagenet(tmp_path_factory.mktemp("raw_imagenet"), raw_val=True)
