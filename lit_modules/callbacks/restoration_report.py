"""Writes the scores of a test, image by image."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.output.image_file import png_path, write_png
from lit_modules.output.output_folder import output_folder
from lit_modules.output.row_writer import RowWriter
from lit_modules.output.whole_file import whole_file


class RestorationReport(Callback):
    """Write ``scores.csv`` and ``scores.txt`` while testing, and the restored images if asked.

    ``scores.csv`` has a row for each image: id, PSNR and SSIM of the restored image, of the image as it came
    (``…_input``), and of how many samples (tiles, if the protocol cuts large images) these are the means.
    ``scores.txt`` has the means over all samples, and the protocol in words. Needs a task with ``scores``,
    ``score_names`` and ``summary`` whose ``test_step`` gives RGB images ``[N, 3, H, W]`` in [0, 1].

    Args:
        save_images: Write each restored image to ``restored/<id>.png``, with 8 bits a channel.
    """

    def __init__(self, save_images: bool = False) -> None:
        self.save_images = save_images
        self._folder = Path()
        self._writer: RowWriter | None = None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        self._folder = output_folder(trainer)
        names: tuple[str, ...] = pl_module.score_names  # type: ignore[assignment]
        header = ["id", *names, *(f"{name}_input" for name in names), "samples"]
        self._writer = RowWriter(self._folder / "scores.csv", header, trainer)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the rows of a batch, and its images."""
        assert self._writer is not None
        restored, degraded = pl_module.scores  # type: ignore[misc]
        self._writer.write(
            [name, *(f"{value:.6f}" for value in (*_means(after), *_means(before))), len(after)]
            for name, after, before in zip(batch.id, restored, degraded, strict=True)
        )
        if self.save_images:
            for name, image in zip(batch.id, outputs, strict=True):
                write_png(png_path(self._folder / "restored", name), image)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the file."""
        assert self._writer is not None
        self._writer.finish()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the means."""
        if trainer.is_global_zero:
            with whole_file(self._folder / "scores.txt") as unfinished:
                unfinished.write_text(f"{pl_module.summary('test')}\n", encoding="utf-8")  # type: ignore[operator]


def _means(samples: list[tuple[float, float]]) -> list[float]:
    """PSNR and SSIM of an image from those of its samples."""
    return [sum(values) / len(values) for values in zip(*samples, strict=True)]
