"""Writes the counts, heat maps and positions that ``predict`` finds in photographs of crowds, or of anything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_modules.callbacks.contracts import MeasuresCells, ask
from lit_modules.callbacks.paged_predictions import PagedPredictions
from lit_modules.metrics import count_heads
from lit_modules.metrics.localisation import find_heads, to_original, to_stored
from lit_modules.output import (
    AnnotationFiles,
    Entry,
    FoundObjects,
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

_OBJECT = ("x", "y", "score")


class CrowdPredictions(PagedPredictions):
    """Write the count of each photograph to ``counts.csv``, and for each one three files in ``predictions``.

    - ``<id>.png`` shows the density over the photograph, under the count.
    - ``<id>.heads.csv`` and ``<id>.heads.json`` have x, y and score of each head that
      :func:`lit_modules.metrics.localisation.find_heads` finds, in pixels of the original file, 0 at the centre of the
      first one. They need not be as many as the count. ``exif`` in the latter says whether they are positions in the
      image as ``stored`` in the file, or as ``shown``: turned as the camera noted. Where the data counts anything but
      heads, these are ``<id>.objects.csv`` and ``<id>.objects.json``; ``category`` in the latter, and the picture, say
      what.

    All that is written while prediction runs, each file whole or not at all. When it ends, the same positions are
    written as annotation tools read them, see :class:`lit_modules.output.AnnotationFiles`: in pixels of the image as
    shown, from its upper left corner on, so that the first one's centre is at 0.5.

    The page shows photographs, densities and counts.

    Needs a task whose ``predict_step`` gives densities ``[N, 1, h, w]`` in heads per cell and whose ``cell_size`` tells
    how large a cell is.

    Args:
        head_sigma: Standard deviation of the Gaussian that a head is in training, in pixels.
        threshold: The least score of a head; a lone one as in training scores about 1.
        max_height: Higher pictures are reduced to this many pixels.
        kwargs: Those of :class:`~lit_modules.callbacks.paged_predictions.PagedPredictions`.

    Raises:
        ValueError: If an argument of its own is not positive.
    """

    title = "Counts of photographs"

    def __init__(self, head_sigma: float = 4.0, threshold: float = 0.3, max_height: int = 1080, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("head_sigma", head_sigma), ("threshold", threshold), ("max_height", max_height)):
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        self.head_sigma = head_sigma
        self.threshold = threshold
        self.max_height = max_height
        self._files: ResultFiles | None = None
        self._annotations: AnnotationFiles | None = None
        self._writer: RowWriter | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the table."""
        super().on_predict_start(trainer, pl_module)
        self._files = ResultFiles(trainer)
        self._annotations = AnnotationFiles(trainer, side=4 * self.head_sigma)
        self._writer = RowWriter(output_folder(trainer) / "counts.csv", ["id", "predicted"], trainer)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the files of a batch."""
        assert self._writer is not None and self._files is not None and self._annotations is not None
        cell_size = ask(self, pl_module, MeasuresCells).cell_size(batch.image, outputs)
        predicted = count_heads(outputs).tolist()
        for i, (size, orientation, exif, category, density, count, name) in enumerate(
            zip(
                batch.original_size.tolist(),
                batch.orientation.tolist(),
                batch.exif,
                batch.category,
                outputs.float().cpu(),
                predicted,
                batch.id,
                strict=True,
            )
        ):
            turned_back = orientation if exif == "stored" else 1
            height, width = size[::-1] if turned_back > 4 else size
            kind = "heads" if category == "heads" else "objects"
            paths = self._files.choose(name, ".png", f".{kind}.csv", f".{kind}.json")
            picture, table, described = paths
            shown = draw_photograph(batch.image[i], self.max_height, batch.mean[i], batch.std[i])
            heat = overlay(shown, spread_cells(density[0], cell_size, batch.image.shape[2:], shown))
            self._write_picture(picture, heat, f"{category}: {count:.1f}")
            heads = find_heads(density[0].numpy(), cell_size, self.head_sigma, self.threshold)
            positions = to_original(heads[:, :2], batch.image.shape[2:], size)
            objects = _round(to_stored(positions, size, turned_back), heads[:, 2])
            write_csv(table, _OBJECT, objects)
            found = {"id": name, "height": height, "width": width, "exif": exif, "category": category, "count": count}
            found[kind] = [dict(zip(_OBJECT, each, strict=True)) for each in objects]
            with whole_file(described) as unfinished:
                unfinished.write_text(json.dumps(found), encoding="utf-8")
            for_tools = _round(positions + 0.5, heads[:, 2])
            self._annotations.add(FoundObjects(name, size[0], size[1], category, for_tools))
            self._show(name, shown, heat, (f"{category}: {count:.1f}", f"{size[1]} × {size[0]} pixels"), paths)
        self._writer.write([name, f"{count:.6f}"] for name, count in zip(batch.id, predicted, strict=True))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the table and say where all is."""
        assert self._writer is not None and self._files is not None and self._annotations is not None
        self._writer.finish()
        self._files.finish()
        self._annotations.finish()
        rank_zero_info(f"Counts written to {self._writer.path}, heat maps and positions to {self._files.folder}")
        rank_zero_info(
            f"Positions for annotation tools written to {self._annotations.coco} (COCO) and, for each image, to "
            f"{self._annotations.folder} (LabelMe)"
        )
        self.page.finish(links=[("all counts", self._writer.path), ("positions for tools", self._annotations.coco)])

    def _show(self, name: str, shown: Tensor, heat: Tensor, facts: Sequence[str], paths: Sequence[Path]) -> None:
        page = self.page
        if page.takes(name):
            pictures = [page.draw(name, "photograph", shown), page.draw(name, "density", heat)]
            texts = ("density (PNG)", "positions (CSV)", "positions (JSON)")
            links = [(text, page.relative(path)) for text, path in zip(texts, paths, strict=True)]
            page.add(Entry(name, pictures, facts=facts, links=links))

    def _write_picture(self, path: Path, heat: Tensor, title: str) -> None:
        save_picture(path, arrange_panels([(title, heat)], max_width=heat.shape[2], max_height=self.max_height))


def _round(positions: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> list[tuple[float, float, float]]:
    """Round positions to hundredths of a pixel, and scores."""
    rows = zip(positions.tolist(), scores.tolist(), strict=True)
    return [(round(x, 2), round(y, 2), round(score, 4)) for (x, y), score in rows]
