"""All that this project uses of Lightning without being promised it: private names, and what lies in its checkpoints.

Other files take it from here, by names that say what it is for. Written for Lightning 2.6; each has a test in
``tests/lit_modules/lightning_private/``, which says where in Lightning to look when a newer one changes it.
"""

from collections.abc import Callable
from typing import Any

import lightning
import yaml
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters
from lightning.pytorch.loops.loop import _Loop
from lightning.pytorch.loops.progress import _ProcessedTracker
from torch import Tensor


def is_configured() -> bool:
    """Tell whether a task is being built by the command line, from its configuration, and not by other code.

    Lightning knows, for ``save_hyperparameters`` then takes the configuration instead of the arguments, but keeps it to
    itself. Look at: ``lightning.pytorch.core.mixins.hparams_mixin``.
    """
    return _given_hyperparameters.get() is not None


def cluster_environment(trainer: Trainer) -> ClusterEnvironment | None:
    """Give the environment that starts a trainer's processes, such as SLURM's.

    Lightning looks at it too, to requeue jobs, but only a strategy of several processes shows it. Look at:
    ``lightning.pytorch.trainer.connectors.signal_connector``.
    """
    environment: ClusterEnvironment | None = trainer._accelerator_connector.cluster_environment
    return environment


def is_resumed_between_epochs(trainer: Trainer) -> bool:
    """Tell whether a training is about to go on from a checkpoint that was written when an epoch was over.

    Look at: ``restarting`` of ``lightning.pytorch.loops.fit_loop``, which compares the same numbers.
    """
    progress = trainer.fit_loop.epoch_progress.current
    assert isinstance(progress, _ProcessedTracker)
    return trainer.fit_loop.is_resuming and progress.ready == progress.started == progress.processed


def begin_next_epoch(trainer: Trainer) -> None:
    """Let a resumed training begin an epoch instead of going on with that of the checkpoint.

    The setter of the loop for fitting ignores False where ``max_steps`` ends the training; that of all loops does what
    it is told. Look at: ``restarting`` of ``lightning.pytorch.loops.fit_loop`` and ``loop``.
    """
    vars(_Loop)["restarting"].fset(trainer.fit_loop, False)


def begin_with_validation(checkpoint: dict[str, Any]) -> None:
    """Let a training that goes on from a checkpoint begin with a validation, which Lightning would take for done.

    What it looks for is a validation batch that was begun and not finished. Look at: the loops'
    ``restarted_mid_evaluation``, and at ``lightning.pytorch.loops.progress``.

    Args:
        checkpoint: What is about to be saved; one of weights alone stays as it is.
    """
    if "loops" in checkpoint:
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]["total"]
        progress["ready"] += 1
        progress["started"] += 1


def take_for_todays(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Give a checkpoint that says which Lightning saved it: this one, if it does not say, for weights are only weights.

    Look at: ``lightning.pytorch.utilities.migration.utils``, which wants to know to bring old ones up to date.
    """
    return {"pytorch-lightning_version": lightning.__version__, **checkpoint}


def validation_has_begun(trainer: Trainer) -> None:
    """Forget, within a training, the batches that validations began and did not finish: there are none, any more.

    Look at: ``reset_on_restart`` in ``lightning.pytorch.loops.progress``.
    """
    trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()


def guard_prediction(trainer: Trainer, guard: Callable[[Callable[[Any], None], Any], None]) -> None:
    """Let all that a prediction does with a batch be done by other code, which may catch what it raises.

    Callbacks see a batch and what was predicted of it, and can change neither. Look at: ``_predict_step`` of
    ``lightning.pytorch.loops.prediction_loop``.

    Args:
        trainer: The trainer; to be called before the first batch.
        guard: Gets what Lightning does, hooks of callbacks included, as a function of a batch, and the batch. It may
            call it several times, with parts of the batch.
    """
    loop = trainer.predict_loop
    predict = type(loop)._predict_step

    def predict_step(batch: Any, *others: Any) -> None:
        guard(lambda part: predict(loop, part, *others), batch)

    vars(loop)["_predict_step"] = predict_step


def count_from(trainer: Trainer, step: int, epoch: int) -> None:
    """Let a trainer that evaluates stand where its weights do, which Lightning restores for training alone.

    Look at: ``Trainer.global_step`` and ``current_epoch``, and ``restore_loops`` in
    ``lightning.pytorch.trainer.connectors.checkpoint_connector``.

    Args:
        trainer: The trainer.
        step: Steps that the weights were trained for.
        epoch: Number of the epoch that they are from.
    """
    loop = trainer.fit_loop.epoch_loop
    loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
    loop.manual_optimization.optim_step_progress.total.completed = step
    loop._batches_that_stepped = step
    trainer.fit_loop.epoch_progress.current.completed = epoch


def only_search(finder: Callback) -> None:
    """Let a finder of learning rate or batch size search when a training starts, change nothing, and end it.

    Lightning's ``Tuner`` does so, with finders of its own. Look at: ``_early_exit`` and ``_update_attr`` in
    ``lightning.pytorch.callbacks.lr_finder`` and ``batch_size_finder``.

    Args:
        finder: A ``LearningRateFinder`` or ``BatchSizeFinder``.
    """
    vars(finder).update(_early_exit=True, _update_attr=False)


class OpenTrainer(Trainer):
    """Lightning's trainer with :meth:`before_stage`: all callbacks of it run too early or too late for that.

    Evaluations are logged at the step of the weights that they evaluate, within a training and without.
    """

    def before_stage(self) -> None:
        """Do what is to be done when all is set up and restored, and nothing of the stage has begun."""

    def log_evaluation(self, metrics: dict[str, Any]) -> None:
        """Log what an evaluation found, at the step of the weights; Lightning (2.6) takes the step before it.

        Look at: ``log_eval_end_metrics`` and ``log_metrics`` of
        ``lightning.pytorch.trainer.connectors.logger_connector``.
        """
        if metrics and not self.sanity_checking:
            stand: dict[str, Any] = {"epoch": self.current_epoch, "step": self.global_step}
            self._logger_connector.log_metrics(stand | metrics)

    def _run_stage(self) -> Any:
        """Run training, evaluation or prediction. Look at: ``Trainer._run``, which calls it last."""
        vars(self._logger_connector)["log_eval_end_metrics"] = self.log_evaluation
        self.before_stage()
        return super()._run_stage()


class OpenCheckpoint(ModelCheckpoint):
    """Lightning's checkpoints, with a ``last.ckpt`` that is written when :meth:`save_last_now` is called, only then.

    There is no other way to choose the occasion. Look at: callers of ``_save_last_checkpoint`` in
    ``lightning.pytorch.callbacks.model_checkpoint``.
    """

    def save_last_now(self, trainer: Trainer) -> None:
        """Write ``last.ckpt``, and leave Lightning in the belief that this step's best ones are still to be saved."""
        before = self._last_global_step_saved
        super()._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        self._last_global_step_saved = before

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Tensor]) -> None:
        """Do nothing on Lightning's own occasions."""


class OpenCLI(LightningCLI):
    """Lightning's command line, with its steps open to subclasses. Look at: ``LightningCLI.__init__``."""

    def make_subcommand_parser(self, trainer_class: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Make the parser of a subcommand, with the arguments of trainer, model, data and of the subcommand itself."""
        return super()._prepare_subcommand_parser(trainer_class, subcommand, **kwargs)

    def make_empty_parser(self, subcommand: str) -> LightningArgumentParser:
        """Make a parser without arguments, for a subcommand that was not given."""
        self._subcommand_method_arguments[subcommand] = []
        return self.init_parser()

    def parser_of(self, subcommand: str) -> LightningArgumentParser:
        """Give the parser of a subcommand."""
        return self._parser(subcommand)

    def after_parsing(self) -> None:
        """Do what the configuration is needed for before anything is built.

        Lightning's own takes the model's arguments from a checkpoint, over what the user wrote.
        """

    def write_config(self) -> str:
        """Write the subcommand's configuration as YAML; not checked once more, which takes several times as long."""
        subcommand = self.config.subcommand
        config = self.config[subcommand]
        text: str = self.parser_of(subcommand).dump(config, skip_none=False, skip_validation=True)
        return text

    def begin_anew(self) -> None:
        """Seed again, and take hyper-parameters from the configuration as it is now; Lightning does so once."""
        super()._set_seed()
        vars(self).pop("config_dump", None)

    def run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand with the trainer."""
        super()._run_subcommand(subcommand)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        return self.make_subcommand_parser(klass, subcommand, **kwargs)

    def _dump_config(self) -> None:
        if not hasattr(self, "config_dump"):
            self.config_dump = yaml.safe_load(self.write_config())

    def _parse_ckpt_path(self) -> None:
        self.after_parsing()

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_subcommand(subcommand)
