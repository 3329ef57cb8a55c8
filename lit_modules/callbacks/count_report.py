"""Writes the counts of a test, and its errors by how dense the crowds are."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.metrics.count_errors import CountErrors, count_heads, mae, nae, rmse
from lit_modules.output import RowWriter, output_folder, write_csv

# Name → annotated heads: more than the first, up to and with the second.
_LEVELS = {
    "0_50": (-math.inf, 50),
    "50_200": (50, 200),
    "200_1000": (200, 1000),
    "over_1000": (1000, math.inf),
}
_SCORES = {"mae": mae, "rmse": rmse, "nae": nae}


class CountReport(Callback):
    """Write ``counts.csv`` and ``levels.csv`` while testing, and log the mean absolute error of each level.

    ``counts.csv`` has a row for each image: id, annotated count, predicted count, and error (predicted − annotated).
    ``levels.csv`` has a row for each level of density: images, mae, rmse and nae (empty where there is nothing to
    average). The levels are 0 to 50 annotated heads, more than 50 to 200, more than 200 to 1000, and more than 1000.
    Those that occur are logged as ``test/mae_0_50``, ``test/mae_50_200``, ``test/mae_200_1000`` and
    ``test/mae_over_1000``. Needs a task whose ``test_step`` gives densities ``[N, 1, h, w]`` in heads per cell.
    """

    def __init__(self) -> None:
        self._errors = CountErrors()
        self._writer: RowWriter | None = None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the file and start collecting."""
        self._errors = CountErrors().to(pl_module.device)
        header = ["id", "annotated", "predicted", "error"]
        self._writer = RowWriter(output_folder(trainer) / "counts.csv", header, trainer)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Write the rows of a batch."""
        assert self._writer is not None
        predicted = count_heads(outputs)
        self._errors.update(predicted, batch.num_heads)
        self._writer.write(
            [name, annotated, f"{count:.6f}", f"{count - annotated:.6f}"]
            for name, annotated, count in zip(batch.id, batch.num_heads.tolist(), predicted.tolist(), strict=True)
        )

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the file; log and write the errors by level."""
        assert self._writer is not None
        self._writer.finish()
        images = self._errors.compute()
        rows: list[list[Any]] = []
        for level, (above, up_to) in _LEVELS.items():
            of_level = [image for image in images if above < image.annotated <= up_to]
            scores = {name: score(of_level) for name, score in _SCORES.items()}
            rows.append([level, len(of_level), *("" if math.isnan(s) else f"{s:.6f}" for s in scores.values())])
            if of_level:
                # All processes have the same number: the largest is it, to the last digit.
                pl_module.log(f"test/mae_{level}", scores["mae"], reduce_fx="max", sync_dist=True)
        folder = output_folder(trainer)
        if trainer.is_global_zero:
            write_csv(folder / "levels.csv", ["level", "images", *_SCORES], rows)
