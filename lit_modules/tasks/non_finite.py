"""What users read when a loss or a weight is no longer finite: where it arose, and what to do."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves

from lit_modules.random_state import TorchStates, restore_torch_state
from lit_modules.tasks.finiteness import TrainingStep

_SHOWN = 5  # samples that a message names
_CHECKPOINTS = (
    "checkpoints, if any, hold finite weights: with the change go on with --ckpt_path last, or best if training had "
    "gone wrong by then"
)

_UPDATED = (
    "not looked for, since weights were updated before the loss was known; --trainer.detect_anomaly=true shows the "
    "operation if gradients were not finite"
)


def explain_loss(task: LightningModule, taken: TrainingStep, again: Callable[[], Tensor] | None) -> str:
    """Say where a loss that is not finite arose.

    The step is run once more, not compiled and without gradients, with the random numbers that it drew. Buffers and
    random numbers are then as they were. Of several processes all must call this.

    Args:
        task: Whose loss it is.
        taken: The step; its loss is finite where another process has one that is not.
        again: Runs the step, gives its loss; None where the weights may have been updated by it.

    Returns:
        A few lines: loss, step and samples; the first place; what to do.
    """
    where = _find_place(task, again, taken.drawn) if again else _UPDATED
    if taken.loss.isfinite():
        return f"the loss of another process is not finite at {taken.when}; that process says where"
    bad = _find_bad_samples(taken.batch)
    lines = [
        f"the loss is {float(taken.loss)} at {taken.when}, samples: {_abbreviate(taken.batch.id)}",
        *([f"data: {text}" for text in bad] or [f"first place: {where}"]),
        "what to do: mend these samples or leave them out" if bad else _advise(task),
        _CHECKPOINTS,
    ]
    return "\n".join(lines)


def explain_weights(task: LightningModule) -> str | None:
    """Say which parameter is not finite.

    Args:
        task: Whose parameters they are.

    Returns:
        A few lines: step, parameter, what to do; None if all are finite.
    """
    where = _find_bad_weight(task, task)
    if where is None:
        return None
    when = f"after step {task.trainer.global_step} (epoch {task.current_epoch})"
    lines = [
        f"weights are not finite {when}, so no checkpoint of them is kept",
        f"first place: {where}",
        _advise(task),
        _CHECKPOINTS,
    ]
    return "\n".join(lines)


def _advise(task: LightningModule) -> str:
    precision = ", --trainer.precision=32-true" if "16" in str(task.trainer.precision) else ""
    return f"what to do: a smaller learning rate, --trainer.gradient_clip_val=1{precision}, or look at the samples"


def _find_bad_samples(batch: Any) -> list[str]:
    """Say of each part of a batch in which samples it is not finite."""
    found = []
    for field in getattr(batch, "_fields", ("image",)):
        values = getattr(batch, field)
        if isinstance(values, Tensor) or all(isinstance(value, Tensor) for value in values):
            bad = [name for name, value in zip(batch.id, values, strict=False) if not value.isfinite().all()]
            if bad:
                found.append(f"{field} is not finite in {_abbreviate(bad)}")
    return found


def _find_place(task: LightningModule, again: Callable[[], Tensor], drawn: TorchStates) -> str:
    """Find the first place in the order of execution, in words."""
    watch = _Watch(task)
    with torch.compiler.set_stance("force_eager"), torch.no_grad(), isolate_rng(), _copy_buffers(task), watch.hooks():
        restore_torch_state(drawn, task.device)
        loss = again()
    if watch.place is not None:
        return watch.place
    if loss.isfinite():
        return "not found, since the step gives a finite loss when it is run again, not compiled"
    return _find_bad_weight(task, task) or "the loss itself, since the outputs of all modules are finite"


@contextmanager
def _copy_buffers(task: nn.Module) -> Iterator[None]:
    """Let modules work on copies of their buffers."""
    originals = [(m, name, buffer) for m in task.modules() for name, buffer in m.named_buffers(recurse=False)]
    try:
        for module, name, buffer in originals:
            setattr(module, name, buffer.clone())
        yield
    finally:
        for module, name, buffer in originals:
            setattr(module, name, buffer)


class _Watch:
    """Finds the first module of a task that gives, or is given, what is not finite.

    Attributes:
        place: It, in words; None as long as there is none.
    """

    def __init__(self, task: nn.Module) -> None:
        self.task = task
        self.names = {id(module): name for name, module in task.named_modules()}  # metrics change their hash
        self.place: str | None = None
        self._running: list[tuple[nn.Module, float]] = []

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Watch what runs in this context."""
        handles = []
        try:
            for module in (module for module in self.task.modules() if module is not self.task):
                handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True))
                handles.append(module.register_forward_hook(self._after))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        given = _find_magnitude((args, kwargs))
        if self.place is None and not math.isfinite(given):
            caller = self._running[-1][0] if self._running else self.task
            who = self._name(caller) if self._running else "the task"
            self.place = _find_bad_weight(self.task, caller) or (
                f"what {who} gives to {self._name(module)} holds {given}, though all before is finite"
            )
        self._running.append((module, given))  # which the module may overwrite

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        _, given = self._running.pop()
        result = _find_magnitude(output)
        if self.place is None and not math.isfinite(result):
            dtypes = sorted({str(value.dtype).removeprefix("torch.") for value in _collect_numbers(output)})
            self.place = _find_bad_weight(self.task, module) or (
                f"{self._name(module)}: its output ({', '.join(dtypes)}) holds {result}, though its weights and what "
                f"it is given, of magnitudes up to {given:.3g}, are finite"
            )

    def _name(self, module: nn.Module) -> str:
        return f"{self.names[id(module)]} ({type(module).__name__})"


def _find_bad_weight(task: nn.Module, part: nn.Module) -> str | None:
    """Find the first parameter in a part of a task, or buffer of its own, that is not finite, in words."""
    bad = {id(value) for value in (*part.parameters(), *_list_buffers_in_use(part)) if not value.isfinite().all()}
    names = [name for name, value in (*task.named_parameters(), *task.named_buffers()) if id(value) in bad]
    if not names:
        return None
    path, _, name = names[0].rpartition(".")
    others = f", as are {len(names) - 1} more in {type(part).__name__}" if len(names) > 1 else ""
    return (
        f"{path} ({type(task.get_submodule(path)).__name__}): its {name} is not finite since an earlier step{others}; "
        "--trainer.detect_anomaly=true shows the operation if gradients were not"
    )


def _list_buffers_in_use(module: nn.Module) -> Iterator[Tensor]:
    """List buffers of a module, not running statistics that training only writes, this step's already among them."""
    if not (isinstance(module, _NormBase) and module.training):
        yield from module.buffers(recurse=False)


def _find_magnitude(values: object) -> float:
    """Find the largest magnitude in nested tensors; NaN where there is one."""
    found = [value.abs().amax().double().cpu() for value in _collect_numbers(values)]
    return float(torch.stack(found).amax()) if found else 0.0


def _collect_numbers(values: object) -> list[Tensor]:
    tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor) and value.numel())
    return [value for value in tensors if value.is_floating_point() or value.is_complex()]


def _abbreviate(names: Sequence[str]) -> str:
    others = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {others} more" if others > 0 else "")
