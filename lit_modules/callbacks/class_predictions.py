"""Writes the classes that ``predict`` finds to a CSV file."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.callbacks.contracts import NamesClasses, ask
from lit_modules.callbacks.paged_predictions import PagedPredictions
from lit_modules.output import Entry, RowWriter, draw_image, output_folder, reduce_image

_CLASSES = 5  # that the page tells of an image


class ClassPredictions(PagedPredictions):
    """Write ``predictions.csv``: a row for each image with its id, its class and the probability of every class.

    Rows are written while prediction runs. Needs a task with ``class_names`` whose ``predict_step`` gives probabilities
    ``[N, num_classes]``.

    The page shows the images, as the network saw them, with their first classes.

    Args:
        filename: Name of the file in the results' folder.
        kwargs: Those of :class:`~lit_modules.callbacks.paged_predictions.PagedPredictions`.
    """

    title = "Classes of images"

    def __init__(self, filename: str = "predictions.csv", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filename = filename
        self._writer: RowWriter | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file."""
        super().on_predict_start(trainer, pl_module)
        names = ask(self, pl_module, NamesClasses).class_names
        header = ["id", "class_index", "class_name", *(f"probability_{name}" for name in names)]
        self._writer = RowWriter(output_folder(trainer) / self.filename, header, trainer)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the rows of a batch."""
        assert self._writer is not None
        names = ask(self, pl_module, NamesClasses).class_names
        probabilities = outputs.float().cpu()
        winners = probabilities.argmax(dim=1).tolist()
        self._writer.write(
            [name, winner, names[winner], *(f"{p:.6f}" for p in row)]
            for name, winner, row in zip(batch.id, winners, probabilities.tolist(), strict=True)
        )
        most, classes = probabilities.topk(min(_CLASSES, len(names)))
        for name, image, shares, indices in zip(batch.id, batch.image, most.tolist(), classes.tolist(), strict=True):
            if self.page.takes(name):
                picture = self.page.draw(name, "as the network saw it", draw_image(reduce_image(image)))
                told = [(names[index], share) for index, share in zip(indices, shares, strict=True)]
                self.page.add(Entry(name, [picture], shares=told))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the file and say where it is."""
        assert self._writer is not None
        self._writer.finish()
        rank_zero_info(f"Predictions written to {self._writer.path}")
        self.page.finish(links=[("the probability of every class", self._writer.path)])
