"""Writes the maps that ``predict`` finds."""

from io import BytesIO
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.callbacks.paged_predictions import PagedPredictions
from lit_modules.output import (
    Entry,
    ResultFiles,
    arrange_panels,
    draw_heat,
    draw_image,
    save_picture,
    whole_file,
)


class MapPredictions(PagedPredictions):
    """Write, for each input, ``predictions/<id>.npy`` (float32 ``[H, W]``) and ``<id>.png`` (input beside prediction).

    Needs a task whose ``predict_step`` gives maps ``[N, 1, H, W]``. Arguments are those of
    :class:`~lit_modules.callbacks.paged_predictions.PagedPredictions`.
    """

    title = "Maps of images"
    _files: ResultFiles | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask where the files go, while all processes are here."""
        super().on_predict_start(trainer, pl_module)
        self._files = ResultFiles(trainer)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the files of a batch."""
        assert self._files is not None
        for name, image, prediction in zip(batch.id, batch.image, outputs.float().cpu(), strict=True):
            array, shown = self._files.choose(name, ".npy", ".png")
            content = BytesIO()  # numpy's own writing does not say why it fails
            np.save(content, prediction[0].numpy())
            with whole_file(array) as unfinished:
                unfinished.write_bytes(content.getbuffer())
            panels = [("input", draw_image(image)), ("prediction", draw_heat(prediction[0]))]
            save_picture(shown, arrange_panels(panels))
            if self.page.takes(name):
                links = [("picture (PNG)", shown), ("values (NPY)", array)]
                pictures = [self.page.draw(name, title, panel) for title, panel in panels]
                files = [(text, self.page.relative(path)) for text, path in links]
                self.page.add(Entry(name, pictures, links=files))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the files are."""
        assert self._files is not None
        self._files.finish()
        rank_zero_info(f"Predictions written to {self._files.folder}")
        self.page.finish()
