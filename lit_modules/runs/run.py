"""A run: what it starts from, its folder, and the trainer that it needs."""

import shlex
import shutil
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch import callbacks as standard
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info

from lit_modules.callbacks import FailedInputs, WarmStart
from lit_modules.errors import PredictionError, UsageError
from lit_modules.lightning_private import cluster_environment, count_from
from lit_modules.runs import folders
from lit_modules.runs.checkpoint_file import WholeCheckpoints
from lit_modules.runs.checkpoints import Checkpoint, find_checkpoint
from lit_modules.runs.hyper_parameters import HyperParameters, select_hyper_parameters
from lit_modules.runs.interruption import Interruption
from lit_modules.runs.loggers import EventFile, make_loggers
from lit_modules.runs.progress import ProgressLines
from lit_modules.runs.random_state import RandomState
from lit_modules.runs.run_checkpoint import RunCheckpoint
from lit_modules.runs.save_config import SaveConfig
from lit_modules.runs.trainer import RunTrainer, check_settings
from lit_modules.runs.yaml_text import load_yaml

ROOT = "runs"
NAME_ONE = (
    "name one: --ckpt_path best, last, a file, a run folder or pretrained:NAME (or opt out: --allow_untrained=true)"
)
_ONLY_FIT = (
    *(standard.Checkpoint, standard.BatchSizeFinder, standard.LearningRateFinder),
    *(EarlyStopping, LearningRateMonitor, WarmStart, WeightAveraging),
)


class Run:
    """One run of a subcommand.

    Args:
        subcommand: The subcommand.
        root: The experiment's folder, ``trainer.default_root_dir``.
        start: The checkpoint it starts from; None for random weights.
        writes: Whether anything is written.

    Attributes:
        folder: Where its results are; known when the trainer is built.
        experiment: Where runs to compare it with are; likewise.
    """

    def __init__(self, subcommand: str, root: Path, start: Checkpoint | None, writes: bool) -> None:
        self.subcommand = subcommand
        self.root = root
        self.start = start
        self.writes = writes
        self.folder = None if start is None else folders.find_home(start.path, root)
        self.experiment = root
        self._resuming: list[Callback] = []

    @property
    def fits(self) -> bool:
        """Whether it trains."""
        return self.subcommand == "fit"

    # What it starts from

    @property
    def slurm_job(self) -> int | None:
        """The SLURM job that it is to be the run of, if there is one and the user names no other run."""
        return SLURMEnvironment.job_id() if self.fits and self.folder is None and self.writes else None

    def join_job(self, job: int, config: str, trusted: bool) -> None:
        """Take the folder of a SLURM job, and its checkpoint if it was requeued.

        Args:
            job: Number of the job.
            config: The configuration as YAML.
            trusted: Whether pickled objects in the checkpoint may run code.
        """
        self.folder = folders.claim_job_run(self.root, job, config)
        for path in folders.list_checkpoints(self.folder)[:1]:
            self.start = Checkpoint(path, trusted)

    def check_start(self, model: LightningModule, config: Mapping[str, Any], allow_untrained: bool = False) -> None:
        """Make sure that the checkpoint fits model and optimizer, and that there is one where one is needed.

        Args:
            model: The model.
            config: The whole configuration.
            allow_untrained: Whether random weights may be evaluated.

        Raises:
            UsageError: If it does not, or there is none.
        """
        if self.start is not None:
            self.start.check_fit(model, config["model"])
            self._resuming = self.start.resuming_callbacks(config) if self.fits else []
            self.start.close()
        elif self.fits:
            self._resuming = [RandomState()]
        elif not allow_untrained and next(model.parameters(), None) is not None:
            raise UsageError(f"{self.subcommand} needs a checkpoint; {NAME_ONE}")

    # Its trainer

    def build_trainer(
        self,
        settings: dict[str, Any],
        checkpoint: RunCheckpoint,
        lr_monitor: LearningRateMonitor,
        save_config: SaveConfig | None,
    ) -> RunTrainer:
        """Build the trainer, in a folder for the run that is made now.

        Args:
            settings: Arguments of the trainer, its callbacks instantiated.
            checkpoint: Keeps checkpoints of a training.
            lr_monitor: Logs its learning rates.
            save_config: Writes the configuration; None if nothing is to be written.

        Returns:
            The trainer.

        Raises:
            UsageError: If a number among the settings is out of its range.
        """
        of_its_own = self.fits or self.folder is None
        check_settings(settings)
        if self.folder is None:
            self.folder = folders.claim_run(self.root, create=self.writes)
        self.experiment = folders.find_experiment(self.folder)
        if not of_its_own:
            self.folder = folders.claim_results_folder(self.folder, self.subcommand, create=self.writes)
        settings["default_root_dir"] = str(self.folder)
        settings["plugins"] = _add_whole_checkpoints(settings["plugins"])
        if settings["logger"] in (None, True) and not settings["barebones"]:
            settings["logger"] = make_loggers(self.folder)
        if not self.fits:
            settings["enable_checkpointing"] = False
            warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks used to create")
        callbacks = self._given_callbacks(settings)
        if not settings["barebones"]:
            callbacks += self._own_callbacks(callbacks, settings, checkpoint, lr_monitor, save_config)
            if save_config is not None and of_its_own:  # TensorBoard takes a folder within a run for a part of it
                callbacks.append(HyperParameters(select_hyper_parameters(load_yaml(save_config.text))))
            _settle(callbacks, self.folder)
        try:
            trainer = RunTrainer(**{**settings, "callbacks": callbacks})
        except Exception:
            with suppress(OSError):
                self.folder.rmdir()  # which was made for nothing, if it is empty
            raise
        if self.start is not None and not self.fits:
            self._stand_at_weights(trainer, self.start)
        return trainer

    def _stand_at_weights(self, trainer: RunTrainer, start: Checkpoint) -> None:
        """Let an evaluation be logged at the step of the weights that it evaluates."""
        if start.step is None and self.subcommand != "predict":
            rank_zero_info(f"{start.path} does not say after which step its weights are: results are logged at step 0")
        count_from(trainer, start.step or 0, start.epoch or 0)

    def _given_callbacks(self, settings: Mapping[str, Any]) -> list[Callback]:
        """Give those that the user set, without those that have nothing to do, and what resuming needs."""
        given = settings["callbacks"] or []
        callbacks: list[Callback] = list(given) if isinstance(given, list) else [given]
        if not self.fits:
            callbacks = [callback for callback in callbacks if not isinstance(callback, _ONLY_FIT)]
        starts = [callback for callback in callbacks if isinstance(callback, WarmStart)]
        callbacks = [callback for callback in callbacks if callback not in starts]
        if self.start is None:
            callbacks = starts + callbacks  # before any that copies the network
        return callbacks + self._resuming

    def _own_callbacks(
        self,
        given: list[Callback],
        settings: Mapping[str, Any],
        checkpoint: RunCheckpoint,
        lr_monitor: LearningRateMonitor,
        save_config: SaveConfig | None,
    ) -> list[Callback]:
        """Give those that every run has, in their order."""
        saves = self.fits and save_config is not None and settings["enable_checkpointing"] is not False
        interruption = Interruption(saves)
        callbacks: list[Callback] = [interruption]
        if saves:
            checkpoint.interruption = interruption
            callbacks.append(checkpoint)
        if self.fits and settings["logger"] and not any(isinstance(x, LearningRateMonitor) for x in given):
            callbacks.append(lr_monitor)
        bar = settings["enable_progress_bar"] is not False and not any(isinstance(x, ProgressBar) for x in given)
        if bar and not sys.stdout.isatty():
            callbacks.append(ProgressLines())
        if self.subcommand == "predict" and not any(isinstance(x, FailedInputs) for x in given):
            callbacks.append(FailedInputs())
        if save_config is not None:
            callbacks.append(save_config)
        return callbacks

    def build_exporter(self) -> RunTrainer:
        """Build a trainer that trains nothing, in the folder for what is exported, made when there is something."""
        run = folders.claim_run(self.root, create=False) if self.folder is None else self.folder
        return self._build_idle_trainer(folders.claim_results_folder(run, "export", create=False))

    def build_checker(self) -> RunTrainer:
        """Build a trainer that trains nothing, in the folder of the experiment, or of the run whose data is checked."""
        if self.start is not None:
            self.start.close()
        return self._build_idle_trainer(self.root if self.folder is None else self.folder)

    @staticmethod
    def _build_idle_trainer(folder: Path) -> RunTrainer:
        return RunTrainer(
            accelerator="cpu",
            devices=1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )

    # While it runs, and after

    def lock(self) -> AbstractContextManager[None]:
        """Keep a second training out of its folder."""
        return folders.lock(self.folder) if self.fits and self.writes and self.folder else nullcontext()

    def tell_results(self, loggers: Sequence[Logger]) -> None:
        """Say where its results are and how to look at them.

        Args:
            loggers: Those of the trainer.
        """
        if self.writes:
            events = next((logger for logger in loggers if isinstance(logger, TensorBoardLogger)), None)
            look = ""
            if events is not None and self.subcommand != "predict":
                folder = self.experiment if isinstance(events, EventFile) else events.root_dir
                command = shlex.join([_find_tensorboard(), "--logdir", str(folder)])
                look = f"; to look at them: {command}"
            rank_zero_info(f"Results are in {self.folder}{look}")

    def check_predictions(self, trainer: Trainer) -> None:
        """Make sure that all inputs were predicted, once all processes have done their part.

        Raises:
            PredictionError: If some were not.
            SystemExit: The same on other processes than the first, which tells it.
        """
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        failed = next((callback for callback in callbacks if isinstance(callback, FailedInputs)), None)
        if failed is None or not failed.failures:
            return
        trainer.strategy.barrier("predictions written")  # a process that fails ends the others
        if trainer.is_global_zero:
            raise PredictionError(f"the prediction lacks {len(failed.failures)} inputs, see {failed.table}")
        if not isinstance(cluster_environment(trainer), LightningEnvironment):
            sys.exit(1)  # where Lightning started it, that would kill the first process before it has ended


def open_checkpoint(name: str, root: Path, subcommand: str, trusted: bool) -> Checkpoint:
    """Open the checkpoint that ``--ckpt_path`` means.

    Args:
        name: ``last``, ``best``, a file, a run folder, or ``pretrained:NAME``, see
            :func:`lit_modules.runs.checkpoints.find_checkpoint`.
        root: The experiment's folder.
        subcommand: The subcommand.
        trusted: Whether pickled objects in it may run code.

    Raises:
        UsageError: If there is none, or it cannot be read.
    """
    return Checkpoint(find_checkpoint(name, root, subcommand), trusted)


def _settle(callbacks: list[Callback], folder: Path) -> None:
    """Give checkpoints their place in a run folder, and say what they will hold."""
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
            callback.dirpath = str((folder / "checkpoints").absolute())
        if isinstance(callback, WeightAveraging):
            rank_zero_info("Validation and checkpoints use moving averages of the weights")


def _add_whole_checkpoints(plugins: Any) -> list[Any]:
    """Add what writes checkpoints, unless the user names something else for it."""
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, WholeCheckpoints()]


def _find_tensorboard() -> str:
    """Find the command, which is not on the path where the environment was not activated."""
    return "tensorboard" if shutil.which("tensorboard") else str(Path(sys.executable).with_name("tensorboard"))
