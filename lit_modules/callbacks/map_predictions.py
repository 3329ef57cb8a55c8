"""Writes the maps that ``predict`` finds."""

from io import BytesIO
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.output import (
    NUM_SHOWN,
    Entry,
    PredictionPage,
    ResultFiles,
    arrange_panels,
    draw_heat,
    draw_image,
    save_picture,
    whole_file,
)


class MapPredictions(Callback):
    """Write, for each input, ``predictions/<id>.npy`` (float32 ``[H, W]``) and ``<id>.png`` (input beside prediction).

    Needs a task whose ``predict_step`` gives maps ``[N, 1, H, W]``. When prediction ends, ``index.html`` shows them,
    see :class:`lit_modules.output.PredictionPage`.

    Args:
        num_shown: Inputs that this page shows, the first ones; 0: no page.

    Raises:
        ValueError: If ``num_shown`` is negative.
    """

    def __init__(self, num_shown: int = NUM_SHOWN) -> None:
        if num_shown < 0:
            raise ValueError(f"num_shown must be at least 0, got {num_shown}")
        self.num_shown = num_shown
        self._files: ResultFiles | None = None
        self._page: PredictionPage | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask where the files go, while all processes are here."""
        self._files = ResultFiles(trainer)
        self._page = PredictionPage(trainer, "Maps of images", self.num_shown)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the files of a batch."""
        assert self._files is not None and self._page is not None
        for name, image, prediction in zip(batch.id, batch.image, outputs.float().cpu(), strict=True):
            array, shown = self._files.choose(name, ".npy", ".png")
            content = BytesIO()  # numpy's own writing does not say why it fails
            np.save(content, prediction[0].numpy())
            with whole_file(array) as unfinished:
                unfinished.write_bytes(content.getbuffer())
            panels = [("input", draw_image(image)), ("prediction", draw_heat(prediction[0]))]
            save_picture(shown, arrange_panels(panels))
            if self._page.takes(name):
                links = [("picture (PNG)", shown), ("values (NPY)", array)]
                pictures = [self._page.draw(name, title, panel) for title, panel in panels]
                files = [(text, self._page.relative(path)) for text, path in links]
                self._page.add(Entry(name, pictures, links=files))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the files are."""
        assert self._files is not None and self._page is not None
        self._files.finish()
        rank_zero_info(f"Predictions written to {self._files.folder}")
        self._page.finish()
