"""Files that cannot be read in prediction, with every data module."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

import datamodules
from datamodules import DataError, ImageDataModule
from datamodules.batches import Failure, ImageBatch
from datamodules.prediction import PredictionLoader, make_prediction_loader
from datamodules.samples import InputFiles, collate
from tests.datamodules.test_base import Tiny, on_device

MODULES: dict[str, dict[str, Any]] = {
    "DigitsDataModule": {},
    "TexturesDataModule": {},
    "CIFAR10DataModule": {},
    "CIFAR100DataModule": {},
    "ImageNetDataModule": {"total_batch_size": 4, "resize_size": 20, "crop_size": 16},
    "StreamingImageNetDataModule": {"total_batch_size": 4, "resize_size": 20, "crop_size": 16},
    "LabelledImagesDataModule": {"batch_size": 4, "resize_size": 20, "crop_size": 16},
    "PointsDataModule": {},
    "ShanghaiTechDataModule": {},
    "UCFQNRFDataModule": {"resize": "fit_1024"},
    "SyntheticCrowdDataModule": {},
    "RealSRDataModule": {},
    "SIDDDataModule": {},
    "SamplePhotosDataModule": {},
    "PairedFoldersDataModule": {},
    "CleanPhotosDataModule": {},
}
GOOD = ["a.png", "line\nbreak.jpg", "sub/z.png"]
BAD = {"b.png": b"", "c.jpg": b"no image", "sub/cut.png": None, "y.tif": b"II*\0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images that can be read, between others that cannot."""
    random = np.random.RandomState(0)
    for name in [*GOOD, "sub/cut.png"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.randint(0, 256, (24, 20, 3), np.uint8)).save(path)
    for name, content in BAD.items():
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:200] if content is None else content)
    return tmp_path


def read_all(loader: DataLoader[Any]) -> tuple[list[Any], list[Failure]]:
    assert isinstance(loader, PredictionLoader)
    failures: list[Failure] = []
    loader.on_failure = failures.append
    return list(loader), failures


def test_all_data_modules_that_take_images_are_tried() -> None:
    own = {name for name in datamodules.__all__ if name.endswith("DataModule")}
    assert own - MODULES.keys() == {"ImageDataModule", "PatternsDataModule"}


@pytest.mark.parametrize("name", MODULES)
def test_batches_come_without_what_cannot_be_read(name: str, folder: Path) -> None:
    data: ImageDataModule = getattr(datamodules, name)(predict_dir=str(folder), num_workers=0, **MODULES[name])
    batches, failures = read_all(data.predict_dataloader())
    assert [name for batch in batches for name in batch.id] == GOOD
    assert all(len(batch.image) == len(batch.id) for batch in batches)
    assert [failure.id for failure in failures] == list(BAD)
    for failure in failures:
        assert failure.reason.startswith(f"'{folder / failure.id}' cannot be read as an image: ")
        assert not failure.traceback


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("batch_size", "expected"), [(1, [1, 1, 1]), (2, [1, 1, 1]), (3, [1, 2]), (4, [2, 1]), (9, [3])]
)
def test_a_batch_is_made_of_what_is_left(folder: Path, num_workers: int, batch_size: int, expected: list[int]) -> None:
    data = Tiny(predict_dir=str(folder), batch_size=batch_size, num_workers=num_workers)
    loader = data.predict_dataloader()
    for _ in range(2):  # in every pass
        batches, failures = read_all(loader)
        assert [len(batch.id) for batch in batches] == expected
        assert [name for batch in batches for name in batch.id] == GOOD
        assert [failure.id for failure in failures] == list(BAD)


def test_of_two_devices_each_has_its_own_failures(folder: Path) -> None:
    shares = [read_all(on_device(Tiny(predict_dir=str(folder)), rank, 2).predict_dataloader()) for rank in range(2)]
    names = [[name for batch in batches for name in batch.id] for batches, _ in shares]
    assert sorted(names[0] + names[1]) == GOOD
    assert sorted(failure.id for _, failures in shares for failure in failures) == list(BAD)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_without_anybody_to_note_it_the_first_failure_is_an_error(folder: Path, num_workers: int) -> None:
    loader = Tiny(predict_dir=str(folder), batch_size=1, num_workers=num_workers).predict_dataloader()
    message, names = "", []
    try:
        for batch in loader:
            names += batch.id
    except DataError as error:
        message = str(error.with_traceback(None))
    assert names == ["a.png"]
    assert message == f"'{folder / 'b.png'}' cannot be read as an image: it is empty. Replace or remove the file."


class Raising(InputFiles[ImageBatch]):
    """One sample that raises what it is given."""

    ids = ("one",)

    def __init__(self, error: Callable[[], Exception]) -> None:
        self.error = error

    def __getitem__(self, index: int) -> ImageBatch:
        raise self.error()


def out_of(number: int) -> DataError:
    error = DataError("'one' cannot be read")
    error.__cause__ = OSError(number, "what the machine says")
    return error


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_machine_at_its_end_is_no_fault_of_a_file(number: int) -> None:
    with pytest.raises(DataError, match="'one' cannot be read"):
        read_all(make_prediction_loader(Raising(lambda: out_of(number)), collate))


def test_errors_that_the_data_does_not_explain_come_with_their_traceback() -> None:
    ((failure,),) = [read_all(make_prediction_loader(Raising(lambda: ZeroDivisionError("odd")), collate))[1]]
    assert failure[:2] == ("one", "'one': ZeroDivisionError: odd")
    assert "in __getitem__" in failure.traceback
    with pytest.raises(RuntimeError, match="'one' cannot be predicted:\nTraceback"):
        list(make_prediction_loader(Raising(lambda: ZeroDivisionError("odd")), collate))


def test_an_image_too_large_for_memory_fails_alone() -> None:
    ((failure,),) = [read_all(make_prediction_loader(Raising(lambda: MemoryError()), collate))[1]]
    assert failure == Failure("one", "'one' is too large for the memory that is free")
