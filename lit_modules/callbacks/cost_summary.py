"""Prints what the network costs before it is trained."""

from typing import Any

import rich
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.table import Table

from acda.analysis import cost, cost_by_layer
from lit_modules.callbacks.contracts import ShowsInput, ask


class CostSummary(Callback):
    """Print a table of the network's layers with output shapes, parameters and multiply-accumulates for one sample.

    Args:
        by_layer: Print a row for each layer; otherwise the totals alone.
    """

    def __init__(self, by_layer: bool = True) -> None:
        self.by_layer = by_layer
        self._printed = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Take the shape of one sample from the first batch, and print."""
        if self._printed or not trainer.is_global_zero:
            return
        self._printed = True
        task = ask(self, pl_module, ShowsInput)
        network, image = task.network, task.network_input(batch).shape[1:]
        two = (2, *image)  # BatchNorm refuses to train on one image once its feature map has shrunk to a pixel
        total = cost(network, two)
        table = Table(title=f"{type(network).__name__} on {'×'.join(map(str, (1, *image)))}", title_justify="left")
        table.add_column("layer")
        table.add_column("output")
        table.add_column("parameters", justify="right")
        table.add_column("MACs", justify="right")
        if self.by_layer:
            for r in cost_by_layer(network, two):
                output = "×".join(map(str, (1, *r.output_shape[1:])))
                table.add_row(f"{r.name} ({r.layer})", output, f"{r.parameters:,}", f"{r.macs // 2:,}")
            table.add_section()
        kept = f"{total.saved_bytes // 2:,} bytes for backward"
        table.add_row("total", kept, f"{total.parameters:,}", f"{total.macs // 2:,}")
        rich.print(table)  # above the progress bar
