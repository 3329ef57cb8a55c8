"""Writes per-class results and the confusion matrix of a test."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics.classification import MulticlassConfusionMatrix

from lit_modules.callbacks.contracts import NamesClasses, ask
from lit_modules.output import output_folder, write_csv


class ClassificationReport(Callback):
    """Write ``per_class.csv`` and ``confusion_matrix.csv`` while testing.

    ``per_class.csv`` has a row for each class: samples, and top-1 error in percent (empty where there are no samples).
    ``confusion_matrix.csv`` has a row for each true class and a column for each predicted one, in samples. Needs a task
    with ``class_names`` whose ``test_step`` gives logits ``[N, num_classes]``.
    """

    def __init__(self) -> None:
        self._confusion: MulticlassConfusionMatrix | None = None

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting."""
        names = ask(self, pl_module, NamesClasses).class_names
        self._confusion = MulticlassConfusionMatrix(len(names)).to(pl_module.device)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count a batch."""
        assert self._confusion is not None
        self._confusion.update(outputs, batch.label)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write both files."""
        assert self._confusion is not None
        counts: list[list[int]] = self._confusion.compute().tolist()
        folder = output_folder(trainer)
        if not trainer.is_global_zero:
            return
        names = ask(self, pl_module, NamesClasses).class_names
        write_csv(
            folder / "confusion_matrix.csv",
            ["true \\ predicted", *names],
            [[name, *row] for name, row in zip(names, counts, strict=True)],
        )
        totals = [sum(row) for row in counts]
        errors = ["" if total == 0 else f"{100 - 100 * counts[i][i] / total:.4f}" for i, total in enumerate(totals)]
        rows = zip(range(len(names)), names, totals, errors, strict=True)
        write_csv(folder / "per_class.csv", ["class_index", "class_name", "samples", "top1_error"], rows)
