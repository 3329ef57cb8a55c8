"""End a run when a signal asks for it: after the step at hand, in all processes, and saying how to go on."""

import os
import signal
import subprocess
import threading
from enum import IntEnum
from types import FrameType
from typing import Any, NoReturn

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lit_modules.errors import Interrupted
from lit_modules.lightning_private import cluster_environment
from lit_modules.runs.folders import get_rank


class Wish(IntEnum):
    """What a process wants after a step, the more urgent the higher."""

    GO_ON = 0
    SAVE = 1
    STOP = 2


def agree(trainer: Trainer, wish: Wish) -> Wish:
    """Find what all processes do: what the most urgent of them wants. All must ask together."""
    if trainer.world_size == 1:
        return wish
    wanted = torch.tensor(int(wish), device=trainer.strategy.root_device)
    return Wish(int(trainer.strategy.reduce(wanted, reduce_op="max")))


class Interruption(Callback):
    """On SIGTERM, SIGINT, and the signal by which SLURM announces the end of a job, end the run in good order.

    A training ends after the step at hand with a checkpoint (:class:`RunCheckpoint` does that), an evaluation after the
    batch at hand; a second SIGINT (Ctrl-C) ends either at once. If it was SLURM's signal the job is requeued, which
    finds its run folder and goes on. Lightning's own handlers save in the middle of a step, part of which is then done
    twice, and let no prediction end.

    Args:
        saves: Whether a ``RunCheckpoint`` stops the training; else it is stopped here, with nothing to go on from.
    """

    def __init__(self, saves: bool) -> None:
        self.saves = saves
        self.received: signal.Signals | None = None
        self._requeues: signal.Signals | None = None
        self._pid = os.getpid()

    def stop(self, trainer: Trainer, checkpoint: str = "") -> NoReturn:
        """End the run.

        Args:
            trainer: The trainer.
            checkpoint: The file to go on from; none by default.

        Raises:
            Interrupted: Always.
        """
        if not trainer.is_global_zero:
            raise Interrupted("", exit_code=0)  # not to be taken for a failure of this process
        name = self.received.name if self.received else "a signal to another process"
        requeued = self._requeues is not None and self.received == self._requeues and _requeue()
        if trainer.state.fn != TrainerFn.FITTING:
            message = f"{name}: stopped; what is written so far is not all"
        elif checkpoint:
            go_on = f"go on with: python cli.py fit --ckpt_path {checkpoint}"
            message = f"{name}: stopped after step {trainer.global_step}; {go_on}"
        else:
            message = f"{name}: stopped after step {trainer.global_step} without a checkpoint"
        number = self.received or signal.SIGTERM
        raise Interrupted(message, exit_code=0 if requeued else 128 + number)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._listen(trainer)

    on_validation_start = on_test_start = on_predict_start = on_train_start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End a training that keeps no checkpoints."""
        if not self.saves and agree(trainer, Wish.STOP if self.received else Wish.GO_ON) == Wish.STOP:
            self.stop(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """End an evaluation; and a training of one process, whose checkpoint was written before its validation."""
        if self.received is None or trainer.sanity_checking:
            return
        if trainer.state.fn != TrainerFn.FITTING:
            self._stop_evaluation(trainer)
        if trainer.world_size == 1:
            self.stop(trainer, getattr(trainer.checkpoint_callback, "last_model_path", ""))

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end

    def _stop_evaluation(self, trainer: Trainer) -> NoReturn:
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(signal.SIGKILL)  # others may wait for this process
        self.stop(trainer)

    def _listen(self, trainer: Trainer) -> None:
        """Take the place of Lightning's handlers, which puts back what was there before when it has ended."""
        if threading.current_thread() is not threading.main_thread():
            return
        environment = cluster_environment(trainer)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            self._requeues = environment.requeue_signal or signal.SIGUSR1
            signal.signal(self._requeues, self._note)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a process that loads data: it ends with this one
        if self.received is None:
            self.received = signal.Signals(number)
            if get_rank() == 0:  # written past all buffers, one of which may have been interrupted
                os.write(2, f"\n{self.received.name}: stopping after this step\n".encode())
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


def _requeue() -> bool:
    """Ask SLURM to start the job again."""
    job = os.environ.get("SLURM_JOB_ID", "")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        rank_zero_warn(f"The SLURM job {job} could not be requeued: {error}")
        return False
    rank_zero_info(f"Requeued the SLURM job {job}")
    return True
