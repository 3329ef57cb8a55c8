"""Lightning's command line, with run folders, checkpoints that suffice for themselves, and short errors."""

import logging
import shutil
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.cli.errors import raise_refused
from lit_modules.cli.parsing import Parser
from lit_modules.cli.request import read_request
from lit_modules.cli.trust import parse_stored
from lit_modules.errors import UsageError
from lit_modules.runs import checkpoints
from lit_modules.runs import folders as runs
from lit_modules.runs.callbacks import RunCheckpoint, SaveConfig
from lit_modules.runs.checkpoint_file import WholeCheckpoints
from lit_modules.runs.loggers import default_loggers
from lit_modules.runs.random_state import RandomState
from lit_modules.runs.resume import ChangedSettings
from lit_modules.runs.run_callbacks import run_callbacks
from lit_modules.runs.trainer import RunTrainer

ROOT = "runs"
# settings of the machine that trained, which need not be the one that evaluates
MACHINE = ("accelerator", "devices", "num_nodes", "strategy", "plugins")
# Lightning's warnings about what is meant to be so here, or is its own business
QUIET = ("Checkpoint directory .* exists and is not empty", ".*treespec, LeafSpec")
NAME_ONE = "name one: --ckpt_path best, last, a file or a run folder (or opt out: --allow_untrained=true)"


class CLI(LightningCLI):
    """Parses the command line, builds model, data and trainer, and runs the subcommand.

    Args:
        args: Command line arguments, by default those of the process.
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        args = list(sys.argv[1:] if args is None else args)
        self.request = read_request(args, self.subcommands())
        self.checkpoint: dict[str, Any] | None = None
        self.checkpoint_path: Path | None = None
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=RunTrainer,
            # the tasks print a summary of their own, with multiply-accumulates
            trainer_defaults={"default_root_dir": ROOT, "enable_model_summary": False},
            parser_class=Parser,
            auto_configure_optimizers=False,
            args=args,
        )

    # Arguments

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Adds ``export`` to Lightning's."""
        return {**LightningCLI.subcommands(), "export": {"model", "datamodule"}}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Keeps the head of the help short."""
        kwargs.setdefault("usage", "python cli.py {fit,validate,test,predict,export} ...")
        kwargs.setdefault("description", "Trains networks, evaluates them, applies them, and exports them.")
        return super().init_parser(**kwargs)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Makes every run reproducible unless asked otherwise."""
        parser.add_argument("--seed_everything", type=int, default=0, help="Seed of all random numbers.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the callbacks that every run has."""
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(LearningRateMonitor, "lr_monitor")
        parser.set_defaults(
            {
                "checkpoint.filename": "epoch{epoch:03d}",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.save_last": True,
                "checkpoint.save_top_k": 1,
            }
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        if self.request.subcommand not in (None, subcommand):
            self._subcommand_method_arguments[subcommand] = []
            return self.init_parser()  # the arguments of others take as long to add, for nothing
        needed = "--config FILE" if subcommand == "fit" else "--ckpt_path {best,last,FILE}"
        kwargs["usage"] = f"python cli.py {subcommand} {needed} [--config FILE ...] [--KEY VALUE ...]"
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand != "fit":
            parser.add_argument(
                "--allow_untrained", type=bool, default=False, help="Whether to go on without a checkpoint."
            )
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # an epoch of predictions may not fit into memory
        return parser

    # The configuration, and what the checkpoint has to do with it

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the arguments; where they name a checkpoint but no model, on top of its configuration."""
        assert isinstance(args, list)
        request, subcommand = self.request, self.request.subcommand
        base = None
        if subcommand and request.ckpt_path and not request.has_model:
            self._open_checkpoint(request.ckpt_path, Path(request.root or ROOT), subcommand, request.trusted)
            base = Namespace(**{subcommand: self._stored_config(subcommand)})  # type: ignore[no-untyped-call]
        try:
            self.config = parser.parse_args(args, namespace=base)
        except UsageError as error:
            if subcommand not in (None, "fit") and not request.ckpt_path and "arguments are required" in str(error):
                raise UsageError(f"{subcommand} needs a checkpoint; {NAME_ONE}") from error
            raise

    def _stored_config(self, subcommand: str) -> Namespace:
        """The configuration of the training that made the checkpoint, without what concerns only that training."""
        assert self.checkpoint is not None and self.checkpoint_path is not None
        config = checkpoints.stored_config(self.checkpoint, self.checkpoint_path)
        for key in ("ckpt_path", "weights_only"):
            config.pop(key, None)
        for key in ("default_root_dir", *(MACHINE if subcommand != "fit" else ())):
            config["trainer"].pop(key, None)
        return parse_stored(self._parser(subcommand).parse_object, config, self.checkpoint_path)

    def _parse_ckpt_path(self) -> None:
        """Finds the checkpoint. Unlike Lightning's, lets no hyper-parameter in it win over what the user wrote."""
        subcommand: str = self.config.subcommand
        config = self.config[subcommand]
        for key in ("trainer", "checkpoint", "lr_monitor"):  # which jsonargparse lets pass
            if not isinstance(config[key], Namespace):
                raise UsageError(f"{key}: expected keys with values, got {config[key]!r}")
        self.root = Path(config.trainer.default_root_dir or ROOT)
        self.run: Path | None = None
        self.writes = subcommand != "export" and not config.trainer.fast_dev_run and not config.trainer.barebones
        if self.checkpoint is None and config.ckpt_path is not None:
            self._open_checkpoint(str(config.ckpt_path), self.root, subcommand, config.weights_only is False)
        if self.checkpoint_path is not None:
            self.run = runs.run_of(self.checkpoint_path)
        job_id = SLURMEnvironment.job_id()
        if subcommand == "fit" and self.run is None and job_id is not None and self.writes:
            self.run = runs.job_run(self.root, job_id, self._parser(subcommand).dump(config, skip_none=False))
            for path in runs.checkpoints_of(self.run)[:1]:  # the job was requeued
                self._open_checkpoint(str(path), self.root, subcommand, config.weights_only is False)
        if self.checkpoint is not None and self.checkpoint_path is not None:
            config.ckpt_path = str(self.checkpoint_path)
            weights = checkpoints.describe_weights(self.checkpoint)
            rank_zero_info(f"Using the checkpoint {self.checkpoint_path}: {weights}")

    def _open_checkpoint(self, name: str, root: Path, subcommand: str, trusted: bool) -> None:
        self.checkpoint_path = checkpoints.find_checkpoint(name, root, subcommand)
        self.checkpoint = checkpoints.read_checkpoint(self.checkpoint_path, trusted)

    # Model, data and trainer

    def instantiate_classes(self) -> None:
        """Builds model, data and trainer; a value that one of them refuses is the user's to correct."""
        try:
            super().instantiate_classes()
        except UsageError:
            raise
        except Exception as error:
            raise_refused(error)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer of a run folder."""
        assert self.subcommand is not None
        self._check_checkpoint(self.subcommand)
        if self.subcommand == "export":
            return self._exporter()
        fit = self.subcommand == "fit"
        config: dict[str, Any] = {**self._get(self.config_init, "trainer"), **kwargs}
        if self.run is None:
            self.run = runs.new_run(self.root, create=self.writes)
        elif not fit:
            self.run = runs.results_folder(self.run, self.subcommand, create=self.writes)
        config["default_root_dir"] = str(self.run)
        config["plugins"] = _with_whole_checkpoints(config["plugins"])
        if config["logger"] in (None, True) and not config["barebones"]:
            config["logger"] = default_loggers(self.run)
        if not fit:
            config["enable_checkpointing"] = False
            warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks used to create")
        own, parser = self.config[self.subcommand], self._parser(self.subcommand)
        save_config = SaveConfig(parser, own, config_filename=f"config_{self.subcommand}.yaml") if self.writes else None
        config["callbacks"] = run_callbacks(
            config,
            fit,
            self.run,
            begins=self.checkpoint_path is None,
            resuming=self.resuming,
            checkpoint=self._get(self.config_init, "checkpoint"),
            lr_monitor=self._get(self.config_init, "lr_monitor"),
            save_config=save_config,
        )
        try:
            return self.trainer_class(**config)
        except Exception:
            with suppress(OSError):
                self.run.rmdir()  # which was made for nothing, if it is empty
            raise

    def _exporter(self) -> Trainer:
        """A trainer that trains nothing, in the folder for what is exported, which is made when there is something."""
        config = self.config_init["export"]
        if config.image_size is None:
            config.image_size = self.config["export"].get("model.init_args.network.init_args.image_size")
        run = runs.new_run(self.root, create=False) if self.run is None else self.run
        folder = runs.results_folder(run, "export", create=False)
        return self.trainer_class(
            accelerator="cpu",
            devices=1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs it, and says where its results are and how to look at them."""
        with runs.locked(self.run) if subcommand == "fit" and self.writes and self.run else nullcontext():
            super()._run_subcommand(subcommand)
        if self.writes:
            look = f"; to look at them: {_tensorboard()} --logdir {self.root}" if subcommand != "predict" else ""
            rank_zero_info(f"Results are in {self.run}{look}")

    def _check_checkpoint(self, subcommand: str) -> None:
        """Makes sure that the checkpoint fits model and optimizer, and that there is one where one is needed."""
        self.resuming: list[Callback] = [RandomState()] if subcommand == "fit" else []
        if self.checkpoint is not None and self.checkpoint_path is not None:
            new = self.config_dump["model"]
            checkpoints.check_fit(self.model, new, self.checkpoint, self.checkpoint_path)
            old = checkpoints.config_in(self.checkpoint)
            if subcommand == "fit" and old:
                same_seed = old["seed_everything"] == self.config_dump["seed_everything"]
                self.resuming = [RandomState(same_seed), ChangedSettings(old["model"], new)]
            self.checkpoint = None  # lets go of the file
        elif subcommand != "fit" and not self._get(self.config, "allow_untrained") and _has_parameters(self.model):
            raise UsageError(f"{subcommand} needs a checkpoint; {NAME_ONE}")


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()


def _with_whole_checkpoints(plugins: Any) -> list[Any]:
    """Adds what writes checkpoints, unless the user names something else for it."""
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, WholeCheckpoints()]


def _tensorboard() -> str:
    """The command, which is not on the path where the environment was not activated."""
    return "tensorboard" if shutil.which("tensorboard") else str(Path(sys.executable).with_name("tensorboard"))


def _has_parameters(model: LightningModule) -> bool:
    return next(model.parameters(), None) is not None
