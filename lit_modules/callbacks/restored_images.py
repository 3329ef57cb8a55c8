"""Writes the images that ``predict`` restores."""

import statistics
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_modules.callbacks.clock import read_clock
from lit_modules.callbacks.paged_predictions import PagedPredictions
from lit_modules.output import (
    Entry,
    ResultFiles,
    draw_image,
    find_change,
    gather,
    reduce_image,
    restored_path,
    write_restored,
)

_DETAIL = 480  # pixels along each side of the part that is shown pixel by pixel
_WHOLE = 280  # of what shows the whole


class RestoredImages(PagedPredictions):
    """Write each restored image to ``predictions/<id>.png``, with 8 or 16 bits a channel, grey as it came.

    ``a.png`` keeps its name, ``a.jpg`` becomes ``a.jpg.png``, and an image's ICC profile is kept. All is written while
    prediction runs, each file whole or not at all. Needs a task whose ``predict_step`` gives images ``[N, C, H, W]`` in
    [0, 1]; of a grey image that was read as three equal channels the mean of the restored ones is written. Images of
    other than one or three channels become ``<id>.tif``, a TIFF with a page for each channel.

    The page shows each image before and after, the part that changed most pixel by pixel, and the seconds that a
    megapixel took. Arguments are those of :class:`~lit_modules.callbacks.paged_predictions.PagedPredictions`.
    """

    title = "Restored images"
    _files: ResultFiles | None = None
    _started = 0.0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask where the files go, while all processes are here."""
        super().on_predict_start(trainer, pl_module)
        self._files = ResultFiles(trainer)
        self._times: list[float] = []

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        """Start the clock."""
        self._started = read_clock(pl_module.device)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the files of a batch."""
        assert self._files is not None
        megapixels = batch.image[:, 0].numel() / 1e6
        seconds = (read_clock(pl_module.device) - self._started) / megapixels
        self._times.append(seconds)
        profiles = batch.profile or [b""] * len(batch.id)
        for came, name, image, bits, grey, profile in zip(
            batch.image, batch.id, outputs, batch.bits.tolist(), batch.grey.tolist(), profiles, strict=True
        ):
            plain = restored_path(Path(), name, len(image))
            (path,) = self._files.choose(name, plain.suffix, base=str(plain.with_suffix("")))
            write_restored(path, image, bits, grey, profile)
            self._show(name, came, image, path, seconds)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the files are."""
        assert self._files is not None
        self._files.finish()
        rank_zero_info(f"Restored images written to {self._files.folder}")
        times = [seconds for part in gather(trainer, self._times) for seconds in part]
        self.page.finish([f"Median time: {_say_time(statistics.median(times))}."] if times else [])

    def _show(self, name: str, came: Tensor, restored: Tensor, path: Path, seconds: float) -> None:
        page = self.page
        if not page.takes(name):
            return
        height, width = restored.shape[1:]
        images = (("before", came), ("after", restored))
        rows, columns = find_change(came, restored, _DETAIL)
        part = [page.draw(name, title, draw_image(image[:, rows, columns], 0, 1)) for title, image in images]
        whole = [
            page.draw(name, f"{title}, whole", draw_image(reduce_image(image, _WHOLE), 0, 1)) for title, image in images
        ]
        size = f"{width} × {height} pixels"
        link = f"restored image ({path.suffix[1:].upper()}, {width} × {height})"
        page.add(Entry(name, whole, part, facts=(size, _say_time(seconds)), links=[(link, page.relative(path))]))


def _say_time(seconds: float) -> str:
    return f"{seconds:.2g} s a megapixel"
