import base64
import csv
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from scipy.io import loadmat
from torch import Tensor, nn

from datamodules.batches import DegradedBatch
from lit_modules.callbacks import RestorationReport, SiddSubmission
from lit_modules.errors import UsageError
from lit_modules.metrics import EvaluationProtocol
from lit_modules.metrics.protocols import Tiles
from lit_modules.output import png_path
from lit_modules.tasks.restoration import RestorationTask
from tests.lit_modules.callbacks.test_callbacks import fake_process
from tests.support.restorations import Photographs, Scaled, degraded, pair, rows_of

SCORES = ["psnr_y", "ssim_y", "psnr_y_input", "ssim_y_input"]


def test_each_image_has_a_row_with_its_scores(trainer: Trainer, tmp_path: Path) -> None:
    batches = [pair(24, 31, "b/2.png", 0.02), pair(16, 40, "a.png", 0.1), pair(24, 24, "b/10.png", 0.2)]
    task = RestorationTask(Scaled(0.9))
    (metrics,) = trainer.test(task, Photographs(batches), verbose=False)
    rows = rows_of(tmp_path / "run" / "scores.csv")
    assert list(rows) == ["a.png", "b/10.png", "b/2.png"]
    for batch in batches:
        ((restored,), (came,)) = (task.protocol.score(f * batch.image, batch.target)[0] for f in (0.9, 1))
        row = rows[batch.id[0]]
        assert [float(row[name]) for name in SCORES] == pytest.approx([*restored, *came], abs=2e-6)
        assert row["samples"] == "1"
    text = (tmp_path / "run" / "scores.txt").read_text()
    assert f"test/psnr_y {metrics['test/psnr_y']:.4f}" in text
    assert task.protocol.describe() in text
    assert not list((tmp_path / "run").glob("*.part"))
    assert not (tmp_path / "run" / "restored").exists()


def test_the_row_of_an_image_in_tiles_has_their_mean(trainer: Trainer, tmp_path: Path) -> None:
    """The mean over all samples, which is logged, follows from the rows."""
    task = RestorationTask(Scaled(0.9))
    task.protocol = EvaluationProtocol("y", tiles=Tiles(16, 12))
    batches = [pair(30, 17, "large.png"), pair(16, 17, "small.png")]
    (metrics,) = trainer.test(task, Photographs(batches), verbose=False)
    rows = rows_of(tmp_path / "run" / "scores.csv")
    assert {name: row["samples"] for name, row in rows.items()} == {"large.png": "6", "small.png": "1"}
    for name in SCORES:
        total = sum(float(row[name]) * int(row["samples"]) for row in rows.values())
        assert metrics[f"test/{name}"] == pytest.approx(total / 7, abs=1e-5)


def test_two_processes_write_each_image_once(tmp_path: Path) -> None:
    """Both have the first image, as when a sampler pads."""
    task, trainers = RestorationTask(Scaled(0.9)), [fake_process(rank, 2) for rank in (0, 1)]
    reports = []
    for trainer in trainers:
        trainer.log_dir = str(tmp_path)
        reports.append(RestorationReport())
        reports[-1].on_test_epoch_start(trainer, task)
    first, second, third = (pair(16, 16, f"{i}.png") for i in range(3))
    for rank, batch in ((0, first), (1, second), (0, third), (1, first)):
        output = task.step(batch, "test")
        reports[rank].on_test_batch_end(trainers[rank], task, output, batch)
    for rank in (1, 0):
        reports[rank].on_test_epoch_end(trainers[rank], task)
    assert list(rows_of(tmp_path / "scores.csv")) == ["0.png", "1.png", "2.png"]


def test_restored_images_of_a_test_are_written_if_asked(trainer: Trainer, tmp_path: Path) -> None:
    trainer.callbacks.append(RestorationReport(save_images=True))
    batch = pair(24, 31, "street/1.jpg")
    trainer.test(RestorationTask(Scaled(0.5)), Photographs([batch]), verbose=False)
    with Image.open(tmp_path / "run" / "restored" / "street" / "1.jpg.png") as image:
        pixels = np.asarray(image)
    expected = np.round(255 * 0.5 * batch.image[0].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(pixels, expected)


def predicted(trainer: Trainer, network: nn.Module, images: list[DegradedBatch]) -> Path:
    """Restores images and says where they are."""
    trainer.predict(RestorationTask(network), Photographs(to_restore=images), return_predictions=False)
    return Path(trainer.log_dir) / "predictions"


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("grey", [False, True])
def test_images_that_nothing_changes_come_out_bit_by_bit(trainer: Trainer, bits: int, grey: bool) -> None:
    top, size = 2**bits - 1, (13, 300, 1 if grey else 3)
    dtype = np.uint8 if bits == 8 else np.uint16
    levels = np.random.default_rng(0).integers(0, top + 1, size).astype(dtype)
    levels[0, :2] = [[0], [top]]
    image = torch.from_numpy(np.broadcast_to(levels, (13, 300, 3)).astype(np.float32) / np.float32(top))
    folder = predicted(trainer, Scaled(), [degraded(image.permute(2, 0, 1)[None], bits=bits, grey=grey)])
    written = cv2.imread(str(folder / "photo.png"), cv2.IMREAD_UNCHANGED)
    assert written.dtype == dtype
    np.testing.assert_array_equal(written, levels[..., 0] if grey else levels[..., ::-1])
    assert [path.name for path in folder.iterdir()] == ["photo.png"]


class Tinted(Scaled):
    """Adds to red and takes from green and blue."""

    def forward(self, image: Tensor) -> Tensor:
        return self.factor * image + torch.tensor([0.12, -0.02, -0.04])[:, None, None]


def test_grey_images_are_the_mean_of_the_restored_channels(trainer: Trainer) -> None:
    folder = predicted(trainer, Tinted(), [degraded(torch.full((1, 3, 12, 12), 0.5), grey=True)])
    with Image.open(folder / "photo.png") as image:
        assert image.mode == "L"
        assert set(np.asarray(image).flatten().tolist()) == {round(255 * 0.52)}


def test_images_in_sub_folders_and_of_equal_names_are_all_written(trainer: Trainer) -> None:
    names = {
        "a.png": "a.png", "a.jpg": "a.jpg.png", "A.PNG": "A.PNG", "deep/a.tif": "deep/a.tif.png",
        "v1.2.png": "v1.2.png", "0001": "0001.png",
    }  # fmt: skip
    images = [degraded(torch.full((1, 3, 4, 4), i / 255), name) for i, name in enumerate(names)]
    folder = predicted(trainer, Scaled(), images)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(names.values())
    for level, path in enumerate(names.values()):
        with Image.open(folder / path) as image:
            assert image.getpixel((0, 0)) == (level,) * 3


def test_no_two_images_share_a_file() -> None:
    names = ["a.png", "a.jpg", "a.jpg.png", "a.jpg.png.png", "a.png.png", "a.png.jpg", "b/a.png", "a.b.png"]
    assert len({png_path(Path("folder"), name) for name in names}) == len(names)


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
    monkeypatch.setattr("lit_modules.callbacks.sidd_submission._read_clock", lambda device: next(clock))
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
