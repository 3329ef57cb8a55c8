"""Writes the scores of a test, image by image."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.callbacks.contracts import ReportsScores, ScoredImages, ask
from lit_modules.metrics import Score
from lit_modules.output import RowWriter, output_folder, restored_path, whole_file, write_restored


class RestorationReport(Callback):
    """Write ``scores.csv`` and ``scores.txt`` while testing, and the restored images if asked.

    ``scores.csv`` has a row for each image: id, PSNR and SSIM of the restored image, of the image as it came
    (``…_input``), and of how many samples (tiles, if the protocol cuts large images) these are the means.
    ``scores.txt`` has the means over all samples, and the protocol in words. Needs a task with
    ``score_names`` and ``summarise`` whose ``test_step`` gives an object with the restored images, ``prediction``
    (``[N, C, H, W]`` in [0, 1]), and their ``scores``, as :class:`lit_modules.RestorationTask` does.

    Args:
        save_images: Write each restored image to ``restored/<id>.png``, with 8 bits a channel; of other than one or
            three channels to a TIFF with a page for each.
    """

    def __init__(self, save_images: bool = False) -> None:
        self.save_images = save_images
        self._folder = Path()
        self._writer: RowWriter | None = None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        self._folder = output_folder(trainer)
        names = ask(self, pl_module, ReportsScores).score_names
        header = ["id", *names, *(f"{name}_input" for name in names), "samples"]
        self._writer = RowWriter(self._folder / "scores.csv", header, trainer)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the rows of a batch, and its images."""
        assert self._writer is not None
        images = ask(self, outputs, ScoredImages, "an output of test_step")
        self._writer.write(
            [name, *(f"{value:.6f}" for value in (*_average(after), *_average(before))), len(after)]
            for name, after, before in zip(batch.id, images.scores.restored, images.scores.degraded, strict=True)
        )
        if self.save_images:
            for name, image in zip(batch.id, images.prediction, strict=True):
                write_restored(restored_path(self._folder / "restored", name, len(image)), image)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the file."""
        assert self._writer is not None
        self._writer.finish()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the means."""
        if trainer.is_global_zero:
            with whole_file(self._folder / "scores.txt") as unfinished:
                summary = ask(self, pl_module, ReportsScores).summarise("test")
                unfinished.write_text(f"{summary}\n", encoding="utf-8")


def _average(samples: list[Score]) -> list[float]:
    """Take PSNR and SSIM of an image from those of its samples."""
    return [sum(values) / len(values) for values in zip(*samples, strict=True)]
