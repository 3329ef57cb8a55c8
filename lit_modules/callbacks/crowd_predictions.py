"""Writes the counts, heat maps and heads that ``predict`` finds in photographs of crowds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_modules.callbacks.contracts import MeasuresCells, ask
from lit_modules.metrics import count_heads
from lit_modules.metrics.localisation import find_heads, to_original, to_stored
from lit_modules.output import (
    ResultFiles,
    RowWriter,
    arrange_panels,
    draw_photograph,
    output_folder,
    overlay,
    save_picture,
    spread_cells,
    whole_file,
    write_csv,
)

_HEAD = ("x", "y", "score")


class CrowdPredictions(Callback):
    """Write the count of each photograph to ``counts.csv``, and for each one three files in ``predictions``.

    - ``<id>.png`` shows the density over the photograph, under the count.
    - ``<id>.heads.csv`` and ``<id>.heads.json`` have x, y and score of each head that
      :func:`lit_modules.metrics.localisation.find_heads` finds, in pixels of the original file, 0 at the centre of the
      first one. They need not be as many as the count. ``exif`` in the latter says whether they are positions in the
      image as ``stored`` in the file, or as ``shown``: turned as the camera noted.

    All is written while prediction runs, each file whole or not at all. Needs a task whose ``predict_step`` gives
    densities ``[N, 1, h, w]`` in heads per cell and whose ``cell_size`` tells how large a cell is.

    Args:
        head_sigma: Standard deviation of the Gaussian that a head is in training, in pixels.
        threshold: The least score of a head; a lone one as in training scores about 1.
        max_height: Higher pictures are reduced to this many pixels.

    Raises:
        ValueError: If an argument is not positive.
    """

    def __init__(self, head_sigma: float = 4.0, threshold: float = 0.3, max_height: int = 1080) -> None:
        for name, value in (("head_sigma", head_sigma), ("threshold", threshold), ("max_height", max_height)):
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        self.head_sigma = head_sigma
        self.threshold = threshold
        self.max_height = max_height
        self._files: ResultFiles | None = None
        self._writer: RowWriter | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the table."""
        self._files = ResultFiles(trainer)
        self._writer = RowWriter(output_folder(trainer) / "counts.csv", ["id", "predicted"], trainer)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the files of a batch."""
        assert self._writer is not None and self._files is not None
        cell_size = ask(self, pl_module, MeasuresCells).cell_size(batch.image, outputs)
        predicted = count_heads(outputs).tolist()
        for image, size, orientation, exif, density, count, name in zip(
            batch.image,
            batch.original_size.tolist(),
            batch.orientation.tolist(),
            batch.exif,
            outputs.float().cpu(),
            predicted,
            batch.id,
            strict=True,
        ):
            turned_back = orientation if exif == "stored" else 1
            height, width = size[::-1] if turned_back > 4 else size
            picture, table, described = self._files.choose(name, ".png", ".heads.csv", ".heads.json")
            self._write_picture(picture, image, density[0], cell_size, count)
            heads = self._find_heads(density[0], cell_size, image.shape[1:], size, turned_back)
            write_csv(table, _HEAD, heads)
            found = {"id": name, "height": height, "width": width, "exif": exif, "count": count}
            found["heads"] = [dict(zip(_HEAD, head, strict=True)) for head in heads]
            with whole_file(described) as unfinished:
                unfinished.write_text(json.dumps(found), encoding="utf-8")
        self._writer.write([name, f"{count:.6f}"] for name, count in zip(batch.id, predicted, strict=True))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the table and say where all is."""
        assert self._writer is not None and self._files is not None
        self._writer.finish()
        self._files.finish()
        rank_zero_info(f"Counts written to {self._writer.path}, heat maps and heads to {self._files.folder}")

    def _write_picture(self, path: Path, image: Tensor, density: Tensor, cell_size: int, count: float) -> None:
        shown = draw_photograph(image, self.max_height)
        values = spread_cells(density, cell_size, image.shape[1:], shown)
        panel = (f"{count:.1f} heads", overlay(shown, values))
        save_picture(path, arrange_panels([panel], max_width=shown.shape[2], max_height=self.max_height))

    def _find_heads(
        self,
        density: Tensor,
        cell_size: int,
        image_size: Sequence[int],
        original_size: Sequence[int],
        turned_back: int,
    ) -> list[tuple[float, float, float]]:
        heads = find_heads(density.numpy(), cell_size, self.head_sigma, self.threshold)
        positions = to_original(heads[:, :2], image_size, original_size)
        heads[:, :2] = to_stored(positions, original_size, turned_back)
        return [(round(x, 2), round(y, 2), round(score, 4)) for x, y, score in heads.tolist()]
