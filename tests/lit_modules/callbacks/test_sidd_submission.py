import base64
import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from scipy.io import loadmat

from datamodules.batches import DegradedBatch
from lit_modules.callbacks import SiddSubmission
from lit_modules.errors import UsageError
from lit_modules.tasks.restoration import RestorationTask
from tests.lit_modules.conftest import fake_process
from tests.support.restorations import Photographs, Scaled, degraded


class Small(SiddSubmission):
    """Of blocks of 4×4 pixels, in a benchmark of two images of three blocks each."""

    images: ClassVar[int] = 2
    blocks: ClassVar[int] = 3
    side: ClassVar[int] = 4


def benchmark(numbers: list[int], side: int = 4, in_batch: int = 2) -> list[DegradedBatch]:
    """Blocks with their numbers in 8 bits, in the first channel, and where a pixel is in the others."""
    batches = []
    for start in range(0, len(numbers), in_batch):
        chosen = numbers[start : start + in_batch]
        image = torch.zeros(len(chosen), 3, side, side)
        image[:, 0] = torch.tensor(chosen)[:, None, None] / 255
        image[:, 1] = torch.arange(side)[:, None] / 255
        image[:, 2] = torch.arange(side) / 255
        flags = torch.full((len(chosen),), 8), torch.zeros(len(chosen), dtype=torch.bool)
        batches.append(DegradedBatch(image, *flags, [f"{number:04d}" for number in chosen]))
    return batches


def submitted(trainer: Trainer, callback: SiddSubmission, batches: list[DegradedBatch]) -> Path:
    trainer.callbacks.append(callback)
    task = RestorationTask(Scaled(2.0))
    trainer.predict(task, Photographs(to_restore=batches), return_predictions=False)
    return Path(trainer.log_dir)


def block_of(number: int, side: int = 4) -> np.ndarray:
    """What becomes of a block if its values are doubled, ``[H, W, 3]``."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([np.full_like(rows, 2 * number), 2 * rows, 2 * columns], axis=-1).astype(np.uint8)


def test_submission_has_the_forms_of_the_benchmark(trainer: Trainer) -> None:
    folder = submitted(trainer, Small({"MethodName": "ours", "Venue": "none"}), benchmark([3, 0, 5, 1, 4, 2]))
    content = loadmat(folder / "SubmitSrgb.mat")
    cells = content["DenoisedBlocksSrgb"]
    assert (cells.shape, cells.dtype) == ((2, 3), object)
    for place in np.ndindex(2, 3):
        assert (cells[place].dtype, cells[place].shape) == (np.uint8, (4, 4, 3))
        np.testing.assert_array_equal(cells[place], block_of(3 * place[0] + place[1]))
    assert content["TimeMPSrgb"].shape == (1, 1)
    assert content["TimeMPSrgb"].dtype == np.float64
    options = content["OptionalData"]
    assert options.dtype.names == ("MethodName", "Venue")
    assert options["MethodName"][0, 0].item() == "ours"

    with (folder / "SubmitSrgb.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["ID", "BLOCK"]
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(6)]
    for number, row in enumerate(rows[1:]):
        block = np.frombuffer(base64.b64decode(row[1]), np.uint8).reshape(4, 4, 3)
        np.testing.assert_array_equal(block, block_of(number))
    assert not list(folder.glob("*.part"))


def test_room_for_all_blocks_is_made_before_the_first(trainer: Trainer) -> None:
    """A disk that gets full would otherwise end the process at the first block that it has no room for."""
    callback = Small()
    callback.on_predict_start(trainer, RestorationTask(Scaled(2.0)))
    status = Path(trainer.log_dir, "SubmitSrgb.blocks.part").stat()
    assert status.st_size == 6 * (8 + 4 * 4 * 3)
    assert status.st_blocks * 512 >= status.st_size


def test_a_block_of_the_benchmark_keeps_its_size() -> None:
    assert (SiddSubmission.images, SiddSubmission.blocks, SiddSubmission.side) == (40, 32, 256)


def test_time_is_that_of_a_megapixel(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of two blocks of 16 pixels that take 1, 2 and 9 seconds: the one in the middle is taken."""
    clock = iter([0, 1, 10, 12, 20, 29])
    monkeypatch.setattr("lit_modules.callbacks.sidd_submission.read_clock", lambda device: next(clock))
    folder = submitted(trainer, Small(), benchmark(list(range(6))))
    content = loadmat(folder / "SubmitSrgb.mat")
    assert content["TimeMPSrgb"].item() == pytest.approx(2 / (2 * 16 / 1e6))
    assert content["OptionalData"]["MethodName"][0, 0].item() == "Scaled"


def test_missing_blocks_are_named(trainer: Trainer) -> None:
    with pytest.raises(UsageError, match=r"2 of the benchmark's 6 blocks were not predicted: 0001, 0004; "):
        submitted(trainer, Small(), benchmark([0, 2, 3, 5]))
    assert not list(Path(trainer.log_dir).glob("SubmitSrgb.[cm]*"))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([degraded(torch.zeros(1, 3, 4, 4), "photo.png")], "'photo.png' of 4×4 pixels .*predict_benchmark=true"),
        (benchmark([0, 6]), "'0006' of 4×4 pixels is no block"),
        (benchmark([0], side=8), "'0000' of 8×8 pixels is no block"),
    ],
)
def test_other_images_than_blocks_are_refused(trainer: Trainer, batches: list, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        submitted(trainer, Small(), batches)


def test_two_processes_make_one_submission(tmp_path: Path) -> None:
    """Both have the first block, as when a sampler pads."""
    task, callbacks = RestorationTask(Scaled(2.0)), [Small(), Small()]
    trainers = [fake_process(rank, 2) for rank in (0, 1)]
    for trainer, callback in zip(trainers, callbacks, strict=True):
        trainer.log_dir = str(tmp_path)
        callback.on_predict_start(trainer, task)
    for rank, numbers in ((0, [0, 2, 4]), (1, [1, 3]), (1, [5, 0])):
        (batch,) = benchmark(numbers, in_batch=3)
        callbacks[rank].on_predict_batch_start(trainers[rank], task, batch)
        with torch.no_grad():
            callbacks[rank].on_predict_batch_end(trainers[rank], task, task.predict_step(batch, 0), batch)
    for rank in (1, 0):
        callbacks[rank].on_predict_end(trainers[rank], task)
    cells = loadmat(tmp_path / "SubmitSrgb.mat")["DenoisedBlocksSrgb"]
    for number, cell in enumerate(cells.flatten()):
        np.testing.assert_array_equal(cell, block_of(number))
