"""Writes the images that ``predict`` restores."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.output import ResultFiles, restored_path, write_restored


class RestoredImages(Callback):
    """Write each restored image to ``predictions/<id>.png``, with 8 or 16 bits a channel, grey as it came.

    ``a.png`` keeps its name, ``a.jpg`` becomes ``a.jpg.png``, and an image's ICC profile is kept. All is written while
    prediction runs, each file whole or not at all. Needs a task whose ``predict_step`` gives images ``[N, C, H, W]`` in
    [0, 1]; of a grey image that was read as three equal channels the mean of the restored ones is written. Images of
    other than one or three channels become ``<id>.tif``, a TIFF with a page for each channel.
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
        profiles = batch.profile or [b""] * len(batch.id)
        for name, image, bits, grey, profile in zip(
            batch.id, outputs, batch.bits.tolist(), batch.grey.tolist(), profiles, strict=True
        ):
            plain = restored_path(Path(), name, len(image))
            (path,) = self._files.choose(name, plain.suffix, base=str(plain.with_suffix("")))
            write_restored(path, image, bits, grey, profile)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the files are."""
        assert self._files is not None
        self._files.finish()
        rank_zero_info(f"Restored images written to {self._files.folder}")
