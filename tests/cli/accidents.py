"""What goes wrong on purpose, at a batch that is named, and a task for any images that it may happen to."""

import atexit
import os
import resource
import shutil
import signal
import subprocess
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor, nn

FATE = ("deleted", "cut off")


class Accident(Callback):
    """Something that happens once.

    Args:
        batch: How many batches are begun before, in all epochs of training, test or prediction.
    """

    def __init__(self, batch: int) -> None:
        self.before = batch

    def happen(self, trainer: Any) -> None:
        raise NotImplementedError

    def _begin(self, trainer: Any, *_: Any) -> None:
        if self.before == 0:
            self.happen(trainer)
        self.before -= 1

    on_train_batch_start = on_test_batch_start = on_predict_batch_start = _begin


class LoseFiles(Accident):
    """Files are deleted or cut off, after the checkpoints were copied to ``kept``.

    Args:
        batch: See :class:`Accident`.
        files: Which; a pattern.
        fate: One of ``FATE``.
    """

    def __init__(self, batch: int, files: str, fate: str) -> None:
        super().__init__(batch)
        self.files = files
        self.fate = fate

    def happen(self, trainer: Any) -> None:
        checkpoints = Path(trainer.default_root_dir, "checkpoints")
        if checkpoints.is_dir():
            shutil.copytree(checkpoints, "kept")
        found = [path for path in Path().glob(self.files) if path.is_file()]
        assert found
        for path in found:
            path.unlink() if self.fate == FATE[0] else os.truncate(path, path.stat().st_size // 2)


class KillWorkers(Accident):
    """Processes that load data are killed, as a machine does that is out of memory.

    Args:
        batch: See :class:`Accident`.
        in_turn: Whether only one is, which cuts Lightning's own ending short, and the others die at the very end of the
            program, as they may on a busy machine.
    """

    def __init__(self, batch: int, in_turn: bool = False) -> None:
        super().__init__(batch)
        self.later: list[int] = []
        self.in_turn = in_turn

    def happen(self, trainer: Any) -> None:
        workers = [worker.pid or 0 for worker in active_children()]
        assert workers
        if self.in_turn:
            workers, self.later = workers[:1], workers[1:]
            assert self.later
        for worker in workers:
            os.kill(worker, signal.SIGKILL)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        if self.in_turn:
            atexit.register(_kill, self.later)
            raise exception


def _kill(workers: list[int]) -> None:
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)


class SendSignal(Accident):
    """A signal is sent to a process of the run.

    Args:
        batch: See :class:`Accident`.
        name: The signal, such as ``SIGKILL``.
        validating: Whether batches of validation are counted, instead of others.
        rank: The process.
        workers: Whether processes that load its data get it too, as they do from a terminal and from SLURM.
    """

    def __init__(self, batch: int, name: str, validating: bool = False, rank: int = 0, workers: bool = False) -> None:
        super().__init__(batch)
        self.workers = workers
        self.number = signal.Signals[name]
        self.validating = validating
        self.rank = rank

    def happen(self, trainer: Any) -> None:
        if trainer.global_rank != self.rank:
            return
        if not self.workers:
            os.kill(os.getpid(), self.number)
            return
        assert active_children()
        all_of_them = [os.getpid(), *(worker.pid for worker in active_children())]
        # not sent by their parent, from which the processes of a loader take it otherwise
        subprocess.run(["kill", "-s", self.number.name.removeprefix("SIG"), *map(str, all_of_them)], check=True)

    def _begin(self, trainer: Any, *_: Any) -> None:
        if trainer.validating == self.validating and not trainer.sanity_checking:
            super()._begin(trainer)

    on_train_batch_start = on_validation_batch_start = on_predict_batch_start = _begin


class LimitFiles(Accident):
    """No file may be larger any more, so that writing fails in the middle of one, as on a full disk.

    Args:
        batch: See :class:`Accident`.
        size: The limit in bytes, or a file of the run folder, for ten bytes more than it has.
        kill: Whether the process is killed there, instead.
    """

    def __init__(self, batch: int, size: int | str, kill: bool = False) -> None:
        super().__init__(batch)
        self.size = size
        self.kill = kill

    def happen(self, trainer: Any) -> None:
        if isinstance(self.size, str):
            (path,) = Path(trainer.default_root_dir).glob(self.size)
            shutil.copy(path, "kept")
            self.size = path.stat().st_size + 10
        if self.kill:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))


def accident(kind: str, /, **arguments: object) -> str:
    """Write the command line's argument for an accident of this module."""
    return f"--trainer.callbacks+={{class_path: tests.cli.accidents.{kind}, init_args: {arguments}}}"


class Brightness(LightningModule):
    """Learns one number from images of any kind; predicts the images as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = (self.factor * batch.image.float().mean() - 1).square()
        self.log("train/loss", loss, batch_size=1)
        return loss

    validation_step = test_step = training_step

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return batch.image

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)
