"""Lightning's trainer, with one folder for everything that comes out of a run, and one more thing to do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities import rank_zero_info

from acda.models.contracts import fulfils
from lit_modules.callbacks.contracts import HasNetwork
from lit_modules.check import check_data
from lit_modules.errors import UsageError
from lit_modules.export import OPSET, SUFFIXES, Format, check_packages, export_network
from lit_modules.lightning_private import OpenTrainer, begin_next_epoch, is_resumed_between_epochs
from lit_modules.runs.checkpoints import read_checkpoint
from lit_modules.runs.folders import get_rank

_SMALLEST = {
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch"), 1),
    **dict.fromkeys(("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps"), 0),
    "num_sanity_val_steps": -1,
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse numbers that Lightning (2.6) takes, and then divides by or leaves out of account.

    Args:
        settings: Arguments of the trainer.

    Raises:
        UsageError: If one is out of its range.
    """
    for name, smallest in _SMALLEST.items():
        value = settings.get(name)
        if value is not None and not value >= smallest:
            raise UsageError(f"trainer.{name} must be at least {smallest}, got {value}")
    interval = settings.get("val_check_interval")
    if isinstance(interval, int | float) and not interval > 0:
        raise UsageError(f"trainer.val_check_interval must be above 0, got {interval}")


class RunTrainer(OpenTrainer):
    """Settings of the training loop and the machine it runs on: Lightning's ``Trainer``."""

    @property
    def log_dir(self) -> str | None:
        """The run folder, chosen by rank 0, whichever loggers are used. All ranks must ask for it together."""
        return self.strategy.broadcast(self.default_root_dir)

    def before_stage(self) -> None:
        """Begin the next epoch where a run with ``max_steps`` is resumed at the end of one.

        Lightning (2.6) begins it with ``max_epochs`` alone; with ``max_steps`` it goes on in the finished epoch.
        """
        if self.training and is_resumed_between_epochs(self):
            begin_next_epoch(self)

    def check(
        self,
        model: LightningModule | None = None,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
        *,
        output: Path | None = None,
    ) -> None:
        """Read all data once, say what it is and what is wrong with it, and draw it.

        Nothing is trained. The exit code is 1 where something is wrong.

        Args:
            model: Not used, and not needed.
            datamodule: The data.
            ckpt_path: A run, or a checkpoint, whose data it is: ``best``, ``last``, a file or a run folder. Default:
                what the configuration says.
            weights_only: ``false``: the checkpoint may hold pickled objects, which may run code.
            output: The contact sheet; default ``check/check.png`` in the experiment's folder, or in that of the run. It
                replaces that of an earlier check.

        Raises:
            UsageError: If there is no data module, or it cannot be asked, or another file is in the sheet's place.
            DataError: If data is missing or damaged so that there is nothing to read.
            CheckError: If something is wrong with the data.
        """
        if get_rank() == 0:
            check_data(datamodule, Path(self.default_root_dir, "check", "check.png") if output is None else output)

    def export(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
        *,
        format: Format = "torch_export",
        output: Path | None = None,
        image_size: int | None = None,
        in_channels: int | None = None,
        standard_operators: bool = False,
    ) -> None:
        """Write the network to a file for other programs.

        Batches may have any size, and images too where the network takes them. The file is compared with the network
        on random images before it is kept.

        Args:
            model: The task, whose ``network`` is exported.
            datamodule: Not used: no data is read.
            ckpt_path: The checkpoint: ``best``, ``last``, a file, a run folder or ``pretrained:NAME``.
            weights_only: ``false``: the checkpoint may hold pickled objects, which may run code.
            format: ``torch_export`` (``torch.export.load``) or ``onnx``.
            output: The file; default ``export/model.pt2`` or ``.onnx`` in the run folder.
            image_size: Side in pixels of the images to trace it with. Default: the network's ``image_size``, else a
                multiple of its ``total_stride``.
            in_channels: Channels of the images. Default: those of the network's first convolution.
            standard_operators: Make ACDA of PyTorch's own operators, so that the file loads without ``acda``; slower.
                ONNX files are always so.

        Raises:
            UsageError: If the network cannot be exported, a package is missing, or the file differs from the network.
        """
        check_packages(format)
        network = model.network if fulfils(model, HasNetwork) else None
        if network is None:
            raise UsageError(f"{type(model).__name__} cannot be exported: it has no network")
        if ckpt_path is not None:
            checkpoint = read_checkpoint(Path(ckpt_path), trusted=weights_only is False)
            model.on_load_checkpoint(checkpoint)
            model.load_state_dict(checkpoint["state_dict"], strict=model.strict_loading)
        path = Path(self.default_root_dir, "model").with_suffix(SUFFIXES[format]) if output is None else output
        exported = export_network(network, path, format, image_size, in_channels, standard_operators)
        kind = f"ONNX, opset {OPSET}" if format == "onnx" else format
        rank_zero_info(
            f"Exported {type(network).__name__} to {path} ({kind}, {path.stat().st_size / 1e6:.2f} MB): "
            f"image [{', '.join(exported.axes)}]; differs by at most {exported.difference:.1e} "
            f"where outputs are up to {exported.largest:.1e}"
        )
