"""An ImageNet is converted and read; where litdata is missing, that is explained."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from datamodules import DataError, ImageNetDataModule, StreamingImageNetDataModule
from datamodules.classification.imagenet_chunks import _read_stored, convert, main
from datamodules.samples import collate

SMALL = {"total_batch_size": 8, "resize_size": 36, "crop_size": 32}


@pytest.fixture(scope="module")
def chunks(raw_imagenet_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ImageNet, converted by the command."""
    folder = tmp_path_factory.mktemp("chunks") / "imagenet"
    command = [sys.executable, "-m", "datamodules.classification.imagenet_chunks", str(raw_imagenet_root), str(folder)]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    return folder


def test_missing_package_is_named(raw_imagenet_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litdata", None)  # as if it were not installed
    message = r"^Streaming needs the package litdata \(.*litdata.*\): pip install litdata$"
    with pytest.raises(DataError, match=message):
        StreamingImageNetDataModule().setup("fit")
    with pytest.raises(DataError, match=message):
        convert(str(raw_imagenet_root), str(tmp_path / "chunks"))
    assert not (tmp_path / "chunks").exists()


@pytest.mark.slow
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


@pytest.mark.slow
def test_converting_leaves_the_process_and_other_folders_as_they_are(
    imagenet_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """litdata would set the start method of all later processes and empty folders that others may use."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("DATA_OPTIMIZER_CACHE_FOLDER", raising=False)
    monkeypatch.setenv("DATA_OPTIMIZER_DATA_CACHE_FOLDER", "of the user's")
    for name in ("data", "chunks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").touch()
    before = multiprocessing.get_start_method()
    convert(str(imagenet_root), str(tmp_path / "out" / "imagenet"))
    assert multiprocessing.get_start_method() == before
    assert all((tmp_path / name / "kept").is_file() for name in ("data", "chunks"))
    assert os.environ["DATA_OPTIMIZER_DATA_CACHE_FOLDER"] == "of the user's"
    assert "DATA_OPTIMIZER_CACHE_FOLDER" not in os.environ
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["imagenet"]


@pytest.mark.slow
def test_missing_data_is_named(tmp_path: Path, chunks: Path) -> None:
    with pytest.raises(
        DataError, match=r"^url='.*/absent' cannot be read \(.*\)\. Name the folder, .*--data.init_args"
    ):
        StreamingImageNetDataModule(str(tmp_path / "absent")).setup("fit")
    with pytest.raises(DataError, match=r"^output_dir='.*/imagenet' exists\. Name a new folder, or remove it\.$"):
        convert(str(tmp_path), str(chunks))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("absent", "out"), 1, "error: data_dir='absent' does not exist."),
        (("absent", "out", "--num_workers=0"), 2, "error: num_workers must be at least 1, got 0"),
        (("absent",), 2, "the following arguments are required: output_dir"),
    ],
)
def test_the_command_tells_what_is_wrong(
    arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    assert message in capsys.readouterr().err


def test_arguments_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"^shuffle_seed must be at least 0, got -1$"):
        StreamingImageNetDataModule(shuffle_seed=-1)


def test_ids_that_are_not_utf8_can_be_stored(tmp_path: Path) -> None:
    path = "train/latin1-\udce9;\n.jpg"
    (tmp_path / "train").mkdir()
    (tmp_path / path).write_bytes(b"content")
    stored = _read_stored(str(tmp_path), (path, 3))
    assert stored == {"image": b"content", "label": 3, "id": r"train/latin1-\xe9;" + "\n.jpg"}
