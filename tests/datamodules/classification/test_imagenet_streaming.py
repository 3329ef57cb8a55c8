"""With litdata installed, the data is converted and read; without it, its absence is explained."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import DataError, ImageNetDataModule
from datamodules.classification.imagenet_streaming import StreamingImageNetDataModule, convert
from datamodules.samples import collate

SMALL = {"total_batch_size": 8, "resize_size": 36, "crop_size": 32}
with_litdata = pytest.mark.skipif(find_spec("litdata") is None, reason="needs litdata")


@pytest.fixture(scope="module")
def chunks(raw_imagenet_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ImageNet, converted."""
    folder = tmp_path_factory.mktemp("chunks") / "imagenet"
    convert(str(raw_imagenet_root), str(folder))
    return folder


@pytest.mark.skipif(find_spec("litdata") is not None, reason="litdata is here")
def test_missing_package_is_named(raw_imagenet_root: Path, tmp_path: Path) -> None:
    message = r"^Streaming needs the package litdata \(No module named 'litdata'\): pip install litdata$"
    with pytest.raises(DataError, match=message):
        StreamingImageNetDataModule().setup("fit")
    with pytest.raises(DataError, match=message):
        convert(str(raw_imagenet_root), str(tmp_path / "chunks"))
    assert not (tmp_path / "chunks").exists()


@with_litdata
@pytest.mark.parametrize(("num_workers", "splits"), [(0, ("train", "val", "test")), (2, ("train",))])
def test_what_is_read_is_what_was_converted(
    chunks: Path, raw_imagenet_root: Path, num_workers: int, splits: tuple[str, ...]
) -> None:
    arguments: dict[str, Any] = SMALL | {"num_workers": num_workers, "augmentation": "none"}
    streamed = StreamingImageNetDataModule(str(chunks), **arguments)
    files = ImageNetDataModule(str(raw_imagenet_root), **arguments)
    streamed.setup("fit")
    assert streamed.class_names == files.class_names
    for split in splits:
        loader = getattr(streamed, f"{split}_dataloader")()
        assert (loader.num_workers, loader.batch_size) == (num_workers, 8)
        batch, expected = (collate(list(made)) for made in (loader, getattr(files, f"{split}_dataloader")()))
        order = [expected.id.index(name) for name in batch.id]
        assert len(set(order)) == len(order) == (32 if split == "train" else 20)  # of 35: whole batches
        assert torch.equal(batch.image, expected.image[order])
        assert torch.equal(batch.label, expected.label[order])
        if split == "train":
            assert collate(list(loader)).id != batch.id


@with_litdata
def test_missing_data_is_named(tmp_path: Path, chunks: Path) -> None:
    with pytest.raises(
        DataError, match=r"^url='.*/absent' cannot be read \(.*\)\. Name the folder, .*--data.init_args"
    ):
        StreamingImageNetDataModule(str(tmp_path / "absent")).setup("fit")
    with pytest.raises(DataError, match=r"^output_dir='.*/imagenet' exists\. Name a new folder, or remove it\.$"):
        convert(str(tmp_path), str(chunks))


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"^shuffle_seed must be at least 0, got -1$"):
        StreamingImageNetDataModule(shuffle_seed=-1)
