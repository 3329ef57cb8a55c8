"""Writes the images that ``predict`` restores."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.output import ResultFiles, png_path, write_png


class RestoredImages(Callback):
    """Write each restored image to ``predictions/<id>.png``, with 8 or 16 bits a channel and grey as it came.

    ``a.png`` keeps its name, ``a.jpg`` becomes ``a.jpg.png``. All is written while prediction runs, each file whole or
    not at all. Needs a task whose ``predict_step`` gives RGB images ``[N, 3, H, W]`` in [0, 1]; of a grey image, which
    has three equal channels, the mean of the restored channels is written.
    """

    def __init__(self) -> None:
        self._files: ResultFiles | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask where the files go, while all processes are here."""
        self._files = ResultFiles(trainer)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the files of a batch."""
        assert self._files is not None
        for name, image, bits, grey in zip(batch.id, outputs, batch.bits.tolist(), batch.grey.tolist(), strict=True):
            plain = png_path(Path(), name)
            (path,) = self._files.choose(name, plain.suffix, base=str(plain.with_suffix("")))
            write_png(path, image, bits, grey)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the files are."""
        assert self._files is not None
        self._files.finish()
        rank_zero_info(f"Restored images written to {self._files.folder}")
