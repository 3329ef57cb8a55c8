import csv
import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from datamodules import DataError
from datamodules.batches import DegradedBatch, ImageBatch, PhotographBatch
from datamodules.prediction import PredictionLoader, make_prediction_loader
from datamodules.samples import InputFiles, collate
from lit_modules import ClassificationTask, CountingTask, RestorationTask
from lit_modules.callbacks import FailedInputs
from lit_modules.errors import UsageError
from tests.support.restorations import rows_of

BAD = torch.nan


@pytest.fixture(autouse=True)
def _only_ours(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Of what is logged look at what the callback says."""
    caplog.set_level(logging.INFO)
    ours = logging.Filter(FailedInputs.__module__)
    caplog.handler.addFilter(ours)
    yield
    caplog.handler.removeFilter(ours)


class Images(InputFiles[Any]):
    """Images of one value each, by name; where it is an error it is raised in reading."""

    def __init__(self, kind: type, values: dict[str, float | Exception]) -> None:
        self.ids = list(values)
        self.values = list(values.values())
        self.kind = kind

    def __getitem__(self, index: int) -> Any:
        value = self.values[index]
        if isinstance(value, Exception):
            raise value
        image = torch.full((1, 3, 8, 8), value)
        more = {
            ImageBatch: {},
            PhotographBatch: {
                "original_size": torch.tensor([[8, 8]]),
                "orientation": torch.tensor([1]),
                "exif": ["stored"],
                "mean": torch.zeros(1, 3),
                "std": torch.ones(1, 3),
                "category": ["heads"],
            },
            DegradedBatch: {"bits": torch.tensor([8]), "grey": torch.tensor([False])},
        }[self.kind]
        return self.kind(image=image, id=[self.ids[index]], **more)


class Particular(nn.Module):
    """A network that does not take images that are not finite."""

    output_stride = 1

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        if not image.isfinite().all():
            raise ValueError("the image must be finite\nand this is more about it")
        return self.factor * image[:, : self.channels]


class Classes(Particular):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).mean(dim=(2, 3))


TASKS: dict[type, tuple[Callable[[], LightningModule], str, str]] = {
    ImageBatch: (lambda: ClassificationTask(Classes(), 3), "predictions.csv", ""),
    PhotographBatch: (lambda: CountingTask(Particular(channels=1)), "counts.csv", "predictions/{}.heads.csv"),
    DegradedBatch: (lambda: RestorationTask(Particular()), "", "predictions/{}.png"),
}
"""For each kind of batch its task, the table with a row for each input, and a file for each."""
VALUES = {
    "first": 0.1,
    "nan": BAD,
    "second": 0.2,
    "torn": DataError("'torn' cannot be read"),
    "third": 0.3,
    "zero": ZeroDivisionError("odd\nmore"),
}
GOOD = ["first", "second", "third"]
REASONS = {
    "nan": "'nan' failed: ValueError: the image must be finite",
    "torn": "'torn' cannot be read",
    "zero": "'zero': ZeroDivisionError: odd\\nmore",
}


def loader(kind: type, values: dict[str, Any], batch_size: int = 1) -> PredictionLoader[Any]:
    return make_prediction_loader(Images(kind, values), collate, batch_size=batch_size)


def failures_of(trainer: Trainer) -> FailedInputs:
    (callback,) = (callback for callback in trainer.callbacks if isinstance(callback, FailedInputs))
    return callback


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9])
@pytest.mark.parametrize("kind", TASKS)
def test_a_bad_input_ends_no_prediction(
    trainer: Trainer, kind: type, batch_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    make, table, file = TASKS[kind]
    predictions = trainer.predict(make(), loader(kind, VALUES, batch_size))
    folder = Path(trainer.log_dir)
    assert sum(map(len, predictions)) == len(GOOD)
    if table:
        assert list(rows_of(folder / table)) == GOOD
    for name in VALUES:
        assert (folder / file.format(name)).exists() == (name in GOOD or not file)
    assert {name: row["reason"] for name, row in rows_of(folder / "failed.csv").items()} == REASONS
    callback = failures_of(trainer)
    assert ([failure.id for failure in callback.failures], callback.predicted) == (list(REASONS), 3)
    assert caplog.messages == [*REASONS.values(), f"3 of 6 inputs failed: listed in {folder / 'failed.csv'}"]


def test_a_second_prediction_begins_anew(trainer: Trainer) -> None:
    task = RestorationTask(Particular())
    trainer.predict(task, loader(DegradedBatch, VALUES), return_predictions=False)
    assert Path(trainer.log_dir, "failed.csv").exists()
    trainer.predict(task, loader(DegradedBatch, {"first": 0.1}), return_predictions=False)
    assert not Path(trainer.log_dir, "failed.csv").exists()
    assert failures_of(trainer).failures == []


def test_after_a_prediction_loaders_raise_again(trainer: Trainer) -> None:
    loaded = loader(DegradedBatch, VALUES)
    trainer.predict(RestorationTask(Particular()), loaded, return_predictions=False)
    with pytest.raises(DataError, match="'torn' cannot be read"):
        list(loaded)


class Own(LightningModule):
    """A task of one's own."""

    def predict_step(self, batch: DegradedBatch, batch_idx: int) -> Tensor:
        return batch.image


def test_modules_of_ones_own_raise_unless_they_have_the_callback(tmp_path: Path) -> None:
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "default_root_dir": tmp_path}
    values = {"first": 0.1, "torn": DataError("'torn' cannot be read"), "third": 0.3}
    with pytest.raises(DataError, match="'torn' cannot be read"):
        Trainer(**settings).predict(Own(), loader(DegradedBatch, values))
    with_it = Trainer(**settings, callbacks=[FailedInputs()])
    assert len(with_it.predict(Own(), loader(DegradedBatch, values))) == 2
    assert list(rows_of(tmp_path / "failed.csv")) == ["torn"]


def test_a_network_that_takes_no_image_ends_the_prediction_early(trainer: Trainer) -> None:
    values = {str(number): BAD for number in range(100)}
    with pytest.raises(ValueError, match="must be finite") as raised:
        trainer.predict(RestorationTask(Particular()), loader(DegradedBatch, values, batch_size=8))
    assert raised.value.__notes__ == ["in predicting '0'"]
    assert len(failures_of(trainer).failures) == failures_of(trainer).patience == 16


def test_a_network_that_takes_none_of_a_few_images_is_at_fault(trainer: Trainer) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        trainer.predict(ClassificationTask(Classes(), 3), loader(ImageBatch, {"one": BAD, "two": BAD}, batch_size=2))
    assert not Path(trainer.log_dir, "predictions.csv").exists()


def test_after_one_that_succeeds_any_number_may_fail(trainer: Trainer) -> None:
    values = {"good": 0.5, **{f"{number:03d}": BAD for number in range(40)}}
    trainer.predict(
        RestorationTask(Particular()), loader(DegradedBatch, values, batch_size=5), return_predictions=False
    )
    assert len(rows_of(Path(trainer.log_dir, "failed.csv"))) == 40


def test_files_that_cannot_be_read_never_end_a_prediction(trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    values = {f"{number:03d}": DataError(f"{number} cannot be read") for number in range(40)}
    trainer.predict(RestorationTask(Particular()), loader(DegradedBatch, values), return_predictions=False)
    assert len(rows_of(Path(trainer.log_dir, "failed.csv"))) == 40
    assert len(caplog.messages) == 21
    assert caplog.messages[-1].startswith("40 of 40 inputs failed, 20 of them not shown here: listed in ")


class RaiseAt(Callback):
    """Raises an error where the results of an input are written."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def on_predict_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        if "second" in batch.id:
            raise self.error


def system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number), "some/file")


def predict_with(trainer: Trainer, error: Exception) -> None:
    trainer.callbacks.append(RaiseAt(error))
    values = dict.fromkeys(GOOD, 0.5)
    trainer.predict(RestorationTask(Particular()), loader(DegradedBatch, values, batch_size=3))


@pytest.mark.parametrize(
    "error",
    [
        *map(system_error, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES)),
        UsageError("no block of the benchmark"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to …"),
        RuntimeError("CUDA error: device-side assert triggered"),
    ],
)
def test_what_concerns_all_ends_the_prediction(trainer: Trainer, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        predict_with(trainer, error)
    assert raised.value is error
    assert not Path(trainer.log_dir, "failed.csv").exists()


def test_an_interruption_ends_the_prediction(trainer: Trainer) -> None:
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        predict_with(trainer, KeyboardInterrupt())


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EISDIR, errno.EILSEQ])
def test_a_result_whose_name_cannot_be_written_fails_alone(trainer: Trainer, number: int) -> None:
    predict_with(trainer, system_error(number))
    reason = f"'second' failed: 'some/file' cannot be written: {os.strerror(number)}"
    assert rows_of(Path(trainer.log_dir, "failed.csv")) == {"second": {"id": "second", "reason": reason}}
    assert {path.name for path in Path(trainer.log_dir, "predictions").iterdir()} >= {"first.png", "third.png"}


def test_names_are_told_in_one_line_and_kept_in_the_table(trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    names = ["line\nbreak;,'\".png", "latin1-\udce9 ", "-=1%{}\\.png"]
    values = {"good": 0.5, **dict.fromkeys(names, BAD)}
    trainer.predict(RestorationTask(Particular()), loader(DegradedBatch, values), return_predictions=False)
    with Path(trainer.log_dir, "failed.csv").open(newline="", errors="surrogateescape") as file:
        assert {row["id"] for row in csv.DictReader(file)} == set(names)
    assert all(message.isprintable() for message in caplog.messages)
    assert any("line\\nbreak;,'\".png" in message for message in caplog.messages)


def test_patience_is_positive() -> None:
    with pytest.raises(ValueError, match=r"^patience must be at least 1, got 0$"):
        FailedInputs(patience=0)
