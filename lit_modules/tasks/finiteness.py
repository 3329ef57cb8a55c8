"""Whether losses are finite: asked at once on the CPU, one step late of an accelerator, which nobody waits for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributed import ReduceOp

from lit_modules.random_state import TorchStates


@dataclass(frozen=True)
class TrainingStep:
    """What is to be told of a step whose loss is not finite.

    Attributes:
        batch: What it trained on.
        batch_idx: Number of the batch in its epoch.
        loss: Scalar, without its graph.
        drawn: State of the generators that its random numbers came from, before it.
        step: How many steps were taken before it.
        epoch: Number of its epoch.
    """

    batch: Any
    batch_idx: int
    loss: Tensor
    drawn: TorchStates
    step: int
    epoch: int

    @property
    def when(self) -> str:
        """Which step it is, in words."""
        return f"step {self.step} (epoch {self.epoch}, batch {self.batch_idx})"


def is_asked_late(device: torch.device) -> bool:
    """Tell whether asking a device for a number at once would keep it from being told what to compute next."""
    return device.type != "cpu"


class LateQuestion:
    """Whether a value that is being computed is finite in all processes: put now, to be answered later.

    The answer is copied to the host behind what computes the value; on a CUDA GPU nothing waits until it is asked for,
    elsewhere the copy is made then.

    Args:
        value: Any tensor.
    """

    def __init__(self, value: Tensor) -> None:
        finite = value.detach().isfinite().all().to(torch.int32)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(finite, ReduceOp.MIN)
        self._answer, self._copied = finite, None
        if finite.is_cuda:
            self._answer = torch.empty((), dtype=finite.dtype, pin_memory=True)
            self._answer.copy_(finite, non_blocking=True)
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()

    def answer(self) -> bool:
        """Tell whether it was, once it is known."""
        if self._copied is not None:
            self._copied.synchronize()
        return bool(self._answer.cpu().numpy())


class FinitenessCheck:
    """Finds the first step whose loss is not finite.

    Args:
        fail: Ends the training, given the step and whether it is over, so that its weights may have been updated by it.
    """

    def __init__(self, fail: Callable[[TrainingStep, bool], None]) -> None:
        self._fail = fail
        self._pending: tuple[TrainingStep, LateQuestion] | None = None

    def ask(self, step: TrainingStep, late: bool) -> None:
        """Ask of a step's loss.

        Args:
            step: Of which it is.
            late: Answer when the next is asked of, or at :meth:`finish`.
        """
        question = LateQuestion(step.loss)
        self.finish()
        if late:
            self._pending = step, question
        elif not question.answer():
            self._fail(step, False)

    def finish(self) -> None:
        """Wait for the answer that is still to come, if there is one."""
        pending, self._pending = self._pending, None
        if pending is not None and not pending[1].answer():
            self._fail(pending[0], True)
