"""Lightning's command line, with run folders, checkpoints that suffice for themselves, and short errors."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import restricted_number_type
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info

from acda.allocator import keep_freed_memory
from lit_modules.cli.faults import explain
from lit_modules.cli.log_lines import LEVELS, show_lines
from lit_modules.cli.parsing import Parser
from lit_modules.cli.refusals import explain_refusal, unwrap
from lit_modules.cli.request import read_request
from lit_modules.cli.search import find_values
from lit_modules.cli.trust import parse_stored
from lit_modules.errors import UsageError
from lit_modules.lightning_private import OpenCLI
from lit_modules.runs import NAME_ONE, ROOT, Checkpoint, Run, RunCheckpoint, RunTrainer, SaveConfig, open_checkpoint
from lit_modules.runs.yaml_text import load_yaml

# Lightning's warnings about what is meant to be so here, or is its own business
QUIET = ("Checkpoint directory .* exists and is not empty", ".*treespec, LeafSpec")

Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])  # what NumPy takes


class CLI(OpenCLI):
    """Parse the command line, build model, data and trainer, and run the subcommand.

    Args:
        args: Command line arguments, by default those of the process.
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        args = list(sys.argv[1:] if args is None else args)
        self.request = read_request(args, self.subcommands())
        self.start: Checkpoint | None = None
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
        with show_lines(self.request.log_level):
            if os.environ.get("ACDA_KEEP_MEMORY") != "0":
                keep_freed_memory()
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
        """Add ``check`` and ``export`` to Lightning's."""
        return {**LightningCLI.subcommands(), **{name: {"model", "datamodule"} for name in ("check", "export")}}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Keep the head of the help short."""
        kwargs.setdefault("usage", "python cli.py {check,fit,validate,test,predict,export} ...")
        kwargs.setdefault(
            "description", "Checks data, trains networks, evaluates them, applies them, and exports them."
        )
        return super().init_parser(**kwargs)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Make every run reproducible unless asked otherwise, and let it be silenced."""
        parser.add_argument("--seed_everything", type=Seed, default=0, help="Seed of all random numbers.")
        parser.add_argument(
            "--log_level", type=Literal[LEVELS], default="info", help="The least important messages that are shown."
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks that every run has."""
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

    def make_subcommand_parser(self, trainer_class: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Make the parser of the subcommand that is asked for, with a short usage and arguments of our own."""
        wanted = self.request.subcommand
        if wanted != subcommand and (wanted or self.request.help):
            return self.make_empty_parser(subcommand)  # the arguments of others take as long to add, for nothing
        needed = "--config FILE" if subcommand in ("check", "fit") else "--ckpt_path {best,last,FILE}"
        kwargs["usage"] = f"python cli.py {subcommand} {needed} [--config FILE ...] [--KEY VALUE ...]"
        if subcommand == "check":
            kwargs["optional"] = ("model",)
        parser = super().make_subcommand_parser(trainer_class, subcommand, **kwargs)
        if subcommand not in ("check", "fit"):
            parser.add_argument(
                "--allow_untrained", type=bool, default=False, help="Whether to go on without a checkpoint."
            )
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # an epoch of predictions may not fit into memory
        return parser

    # The configuration, and the run that it asks for

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse the arguments; where they name a checkpoint but no model, on top of its configuration."""
        assert isinstance(args, list)
        request, subcommand = self.request, self.request.subcommand
        base = None
        if subcommand and request.ckpt_path and not request.has_model:
            self.start = open_checkpoint(request.ckpt_path, Path(request.root or ROOT), subcommand, request.trusted)
            stored = self.start.stored_config(subcommand)
            parsed = parse_stored(self.parser_of(subcommand).parse_object, stored, self.start.path)
            base = Namespace({subcommand: parsed})  # type: ignore[no-untyped-call]
        try:
            self.config = parser.parse_args(args, namespace=base)
        except UsageError as error:
            if (
                subcommand not in (None, "check", "fit")
                and not request.ckpt_path
                and "arguments are required" in str(error)
            ):
                raise UsageError(f"{subcommand} needs a checkpoint; {NAME_ONE}") from error
            raise

    def after_parsing(self) -> None:
        """Find the run and its checkpoint. No hyper-parameter in that wins over what the user wrote."""
        subcommand: str = self.config.subcommand
        config = self.config[subcommand]
        for key in ("trainer", "checkpoint", "lr_monitor"):  # which jsonargparse lets pass
            if not isinstance(config[key], Namespace):
                raise UsageError(f"{key}: expected keys with values, got {config[key]!r}")
        root, trusted = Path(config.trainer.default_root_dir or ROOT), config.weights_only is False
        if self.start is None and config.ckpt_path is not None:
            self.start = open_checkpoint(str(config.ckpt_path), root, subcommand, trusted)
        if subcommand == "check":
            config.model, config.trainer.callbacks = None, None
        writes = (
            subcommand not in ("check", "export") and not config.trainer.fast_dev_run and not config.trainer.barebones
        )
        self.run = Run(subcommand, root, self.start, writes)
        if self.run.slurm_job is not None:
            self.run.join_job(self.run.slurm_job, self.write_config(), trusted)
        if self.run.start is not None:
            config.ckpt_path = str(self.run.start.path)
            rank_zero_info(f"Using the checkpoint {config.ckpt_path}: {self.run.start.describe_weights()}")

    # Model, data and trainer

    def before_instantiate_classes(self) -> None:
        """Search what finders among the callbacks are to find; the training then starts with it, from the beginning."""
        subcommand = self.run.subcommand
        if not self.run.fits:
            return

        def build(trial: Namespace) -> Namespace:
            built: Namespace = self.parser.instantiate_classes(
                Namespace({"subcommand": subcommand, subcommand: trial})  # type: ignore[no-untyped-call]
            )[subcommand]
            return built

        with self._blaming_settings(building=True):
            searched = find_values(self.config[subcommand], build, self.run.start)
        if searched:
            self.begin_anew()

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; a value that one of them refuses is the user's to correct."""
        with self._blaming_settings(building=True):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> RunTrainer:
        """Build the trainer of the run."""
        subcommand, run = self.run.subcommand, self.run
        given, built = self.config[subcommand], self.config_init[subcommand]
        if subcommand == "check":
            return run.build_checker()
        run.check_start(self.model, self.config_dump, given.get("allow_untrained", False))
        if subcommand == "export":
            if built.image_size is None:
                built.image_size = given.get("model.init_args.network.init_args.image_size")
            return run.build_exporter()
        save_config = None
        if run.writes:
            save_config = SaveConfig(self.parser_of(subcommand), given, config_filename=f"config_{subcommand}.yaml")
        return run.build_trainer({**built.trainer, **kwargs}, built.checkpoint, built.lr_monitor, save_config)

    def run_subcommand(self, subcommand: str) -> None:
        """Run it, and say where its results are and how to look at them."""
        with self.run.lock(), self._blaming_settings(building=False):
            super().run_subcommand(subcommand)
        self.run.tell_results(self.trainer.loggers)
        if subcommand == "predict":
            self.run.check_predictions(self.trainer)

    def _plain_config(self) -> dict[str, Any]:
        """Give the subcommand's configuration as plain values."""
        plain: dict[str, Any] = load_yaml(self.write_config())
        return plain

    @contextmanager
    def _blaming_settings(self, building: bool) -> Iterator[None]:
        """Turn errors that a setting led to into a :class:`UsageError` which names it."""
        try:
            yield
        except Exception as error:
            if explain(error):
                raise
            if text := explain_refusal(error, self._plain_config(), building):
                raise UsageError(text) from error
            if (original := unwrap(error)) is error:
                raise
            raise original from original.__cause__


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()
