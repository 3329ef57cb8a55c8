"""Writes the files that the SIDD benchmark takes."""

import base64
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from scipy.io import savemat

from lit_modules.callbacks.clock import read_clock
from lit_modules.callbacks.contracts import HasNetwork, ask
from lit_modules.errors import UsageError
from lit_modules.output import name_in_errors, output_folder, whole_file, write_csv

_MISSING_SHOWN = 10


class SiddSubmission(Callback):
    """Write the restored blocks of the SIDD benchmark to ``SubmitSrgb.mat`` and ``SubmitSrgb.csv``.

    The first has ``DenoisedBlocksSrgb``, a 40×32 cell of 256×256×3 uint8, ``TimeMPSrgb``, seconds per megapixel, and
    ``OptionalData``. The second has a row for each block: ID, 0 to 1279, image by image, and BLOCK, its bytes row by
    row in base64. The time is the median over batches of that which ``predict_step`` takes, from a batch on the device
    to a result there; what callbacks that come before this one in the list do at the end of a batch is in it.

    Blocks are kept in a file while prediction runs, by all processes in one, so they need a common folder. Needs the
    benchmark's blocks with ids 0000 to 1279, and a task whose ``predict_step`` gives RGB images in [0, 1].

    Args:
        optional_data: Fields of ``OptionalData``: MethodName, Authors, PaperTitle, Venue. Default: the class of the
            network as MethodName.
    """

    images: ClassVar[int] = 40
    blocks: ClassVar[int] = 32
    side: ClassVar[int] = 256

    def __init__(self, optional_data: dict[str, str] | None = None) -> None:
        self.optional_data = optional_data
        self._folder = Path()
        self._started = 0.0
        self._record = np.dtype([("seconds", np.float64), ("pixels", np.uint8, (self.side, self.side, 3))])
        self._records = np.empty(0, self._record)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make room for the blocks."""
        self._folder = output_folder(trainer)
        shape = (self.images * self.blocks,)
        if trainer.is_global_zero:
            self._folder.mkdir(parents=True, exist_ok=True)
            empty = np.zeros(1, self._record)
            empty["seconds"] = np.nan
            with name_in_errors(self._part), self._part.open("wb") as file:
                for _ in range(*shape):  # written out: a block for which the disk has no room would end the process
                    file.write(empty.tobytes())
        trainer.strategy.barrier("room made for blocks")
        self._records = np.memmap(self._part, self._record, "r+", shape=shape)

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *_: Any) -> None:
        """Start the clock."""
        self._started = read_clock(pl_module.device)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Stop the clock, and keep the blocks.

        Raises:
            UsageError: If one is not of the benchmark.
        """
        seconds = (read_clock(pl_module.device) - self._started) / len(batch.id) / self._megapixels
        blocks = (outputs.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        for name, pixels in zip(batch.id, blocks, strict=True):
            number = int(name) if name.isdecimal() else -1
            if not 0 <= number < len(self._records) or pixels.shape != (self.side, self.side, 3):
                raise UsageError(
                    f"SiddSubmission: '{name}' of {pixels.shape[0]}×{pixels.shape[1]} pixels is no block of the SIDD "
                    "benchmark: set --data.init_args.predict_benchmark=true, or leave the callback away"
                )
            self._records[number] = (seconds, pixels)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write both files and say where they are.

        Raises:
            UsageError: If blocks are missing.
        """
        assert isinstance(self._records, np.memmap)
        self._records.flush()
        trainer.strategy.barrier("blocks written")
        missing = [f"{number:04d}" for number in np.flatnonzero(np.isnan(self._records["seconds"]))]
        if missing:
            more = f" and {len(missing) - _MISSING_SHOWN} more" if len(missing) > _MISSING_SHOWN else ""
            raise UsageError(
                f"SiddSubmission: {len(missing)} of the benchmark's {len(self._records)} blocks were not predicted: "
                f"{', '.join(missing[:_MISSING_SHOWN])}{more}; predict all of them, without limit_predict_batches"
            )
        if not trainer.is_global_zero:
            return
        self._write_mat(type(ask(self, pl_module, HasNetwork).network).__name__)
        rows = ([i, base64.b64encode(block.tobytes()).decode()] for i, block in enumerate(self._records["pixels"]))
        write_csv(self._folder / "SubmitSrgb.csv", ["ID", "BLOCK"], rows)
        self._part.unlink()
        rank_zero_info(f"Submission to the SIDD benchmark written to {self._folder}: SubmitSrgb.mat, SubmitSrgb.csv")

    def _write_mat(self, method: str) -> None:
        cells = np.empty((self.images, self.blocks), object)
        for place, block in zip(np.ndindex(cells.shape), self._records["pixels"], strict=True):
            cells[place] = block
        content = {
            "DenoisedBlocksSrgb": cells,
            "TimeMPSrgb": float(np.median(self._records["seconds"])),
            "OptionalData": self.optional_data or {"MethodName": method},
        }
        with whole_file(self._folder / "SubmitSrgb.mat") as unfinished:
            savemat(unfinished, content, appendmat=False)

    @property
    def _part(self) -> Path:
        return self._folder / "SubmitSrgb.blocks.part"

    @property
    def _megapixels(self) -> float:
        return self.side**2 / 1e6
