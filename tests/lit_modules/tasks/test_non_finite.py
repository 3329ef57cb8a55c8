"""A loss or weight that is not finite ends training, with a message that says where it arose."""

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from acda.models import KPN, LPKPN, VDSR, DNet, SNet, VariationalDenoiser
from datamodules.batches import LabelledBatch, PatternBatch, RestorationBatch
from lit_modules import ClassificationTask, CountingTask, PatternTask, RestorationTask, VariationalTask
from lit_modules.errors import TrainingError
from lit_modules.losses import PyramidLoss
from lit_modules.tasks.base import Task
from tests.support.crowds import Seen, crowd
from tests.support.restorations import pair

NAN, INF = float("nan"), float("inf")


class Map(nn.Module):
    """Applies a function to what it is given."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Body(nn.Module):
    """Takes the logarithm between two layers, in a module of its own or not."""

    def __init__(self, log: nn.Module | None = None) -> None:
        super().__init__()
        self.first = constant(4, 4, -1.0)
        self.log = log
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x.log() if self.log is None else self.log(x))


def constant(inputs: int, outputs: int, value: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)
    return layer


def labelled(count: int = 4) -> LabelledBatch:
    return LabelledBatch(torch.rand(count, 1, 2, 2), torch.arange(count) % 3, [f"sample_{i}" for i in range(count)])


def classifier(*layers: nn.Module, lr: float = 0.1, **options: Any) -> ClassificationTask:
    network = nn.Sequential(nn.Flatten(), *layers)
    return ClassificationTask(network, 3, optimizer=lambda p: torch.optim.SGD(p, lr), **options)


def stopped(task: Task, trainer: Trainer, *batches: Any) -> list[str]:
    """Lines of the message with which training ends. No callback runs the network too."""
    task.default_callbacks = lambda: []  # type: ignore[method-assign]
    data = DataLoader(batches or [labelled()], batch_size=None)
    with pytest.raises(TrainingError) as error:
        trainer.fit(task, data)
    lines = str(error.value).splitlines()
    assert len(lines) <= 4
    return lines


@pytest.mark.parametrize(("layers", "place", "value"), [
    ((constant(4, 3, -1.0), Map(torch.log)), "network.2 (Map): its output (float32)", "nan"),
    ((constant(4, 3, 0.0), Map(torch.reciprocal), nn.Linear(3, 3)), "network.2 (Map): its output (float32)", "inf"),
    ((constant(4, 3, 7e4), Map(Tensor.half), Map(Tensor.float)), "network.2 (Map): its output (float16)", "inf"),
    ((constant(4, 3, -1.0), Map(torch.log_), nn.ReLU(inplace=True)), "network.2 (Map): its output (float32)", "nan"),
    ((constant(4, 3, 1e30), Map(torch.square), nn.BatchNorm1d(3)), "network.2 (Map): its output (float32)", "inf"),
    ((constant(4, 4, 1e30), nn.BatchNorm1d(4), nn.ReLU(), Body(Map(torch.log))), "network.4.log (Map)", "nan"),
    ((Body(),), "what network.1 (Body) gives to network.1.last (Linear)", "nan"),
])  # fmt: skip
def test_the_first_module_is_named(layers: Sequence[nn.Module], place: str, value: str, trainer: Trainer) -> None:
    lines = stopped(classifier(*layers), trainer)
    assert lines[1].startswith(f"first place: {place}")
    assert f" holds {value}, though " in lines[1]


def test_the_magnitude_of_the_input_shows_an_overflow(trainer: Trainer) -> None:
    where = stopped(classifier(constant(4, 3, 7e4), Map(Tensor.half), Map(Tensor.float)), trainer)[1]
    assert "of magnitudes up to 7e+04, are finite" in where


def test_step_epoch_batch_and_samples_are_named(trainer: Trainer) -> None:
    calls: list[int] = []

    def break_down(x: Tensor) -> Tensor:
        calls.append(1)
        return x * (NAN if len(calls) > 4 else 1.0)

    trainer.fit_loop.max_epochs = 2
    lines = stopped(classifier(nn.Linear(4, 3), Map(break_down)), trainer, labelled(), labelled(2), labelled(8))
    names = ", ".join(f"sample_{i}" for i in range(2))
    assert lines[0] == f"the loss is nan at step 4 (epoch 1, batch 1), samples: {names}"
    assert "--ckpt_path last" in lines[-1]


def test_samples_beyond_the_first_five_are_counted(trainer: Trainer) -> None:
    first = stopped(classifier(Body()), trainer, labelled(8))[0]
    assert first.endswith("samples: sample_0, sample_1, sample_2, sample_3, sample_4 and 3 more")


def test_what_of_the_data_is_not_finite_is_named_before_all_else(trainer: Trainer) -> None:
    batch = labelled(8)
    batch.image[[1, 6], :, 1, 0] = torch.tensor([NAN, -INF])[:, None]
    task = classifier(nn.Linear(4, 3), nn.BatchNorm1d(3))
    lines = stopped(task, trainer, batch)
    assert lines[1:3] == [
        "data: image is not finite in sample_1, sample_6",
        "what to do: mend these samples or leave them out",
    ]
    assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_targets_are_data_too(trainer: Trainer) -> None:
    clean = pair(16, 16, count=3)
    target = clean.target.clone()
    target[2, 0, 3, 4] = INF
    lines = stopped(RestorationTask(VDSR(width=4, depth=3)), trainer, RestorationBatch(clean.image, target, clean.id))
    assert lines[1] == f"data: target is not finite in {clean.id[2]}"


def test_a_weight_is_named(trainer: Trainer) -> None:
    task = classifier(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 4)), nn.Linear(4, 3))
    with torch.no_grad():
        task.network[2][1].bias[2] = INF
        task.network[3].weight[0] = NAN
    lines = stopped(task, trainer)
    assert lines[1].startswith("first place: network.2.1 (Linear): its bias is not finite since an earlier step; ")
    assert "--trainer.detect_anomaly=true" in lines[1]
    assert "--trainer.gradient_clip_val=1" in lines[2]


def test_a_buffer_is_named_unless_training_only_writes_it(trainer: Trainer) -> None:
    frozen = nn.BatchNorm1d(3)
    frozen.running_mean[1] = NAN
    frozen.train = lambda mode=True: frozen  # type: ignore[method-assign, assignment, misc]
    frozen.training = False
    where = stopped(classifier(nn.Linear(4, 3), frozen), trainer)[1]
    assert where.startswith("first place: network.2 (BatchNorm1d): its running_mean is not finite")


def test_statistics_of_the_step_itself_are_not_blamed(trainer: Trainer) -> None:
    """The variance of numbers up to 3e38 overflows, in running_var too, which training only writes."""
    task = classifier(Map(lambda x: x * 3e38), nn.BatchNorm1d(4), nn.Linear(4, 3))
    where = stopped(task, trainer)[1]
    assert not task.network[2].running_var.isfinite().all()
    assert where.startswith("first place: network.2 (BatchNorm1d): its output (float32) holds ")


def test_the_loss_itself(trainer: Trainer) -> None:
    """The square of 1e30 is infinite in single precision."""
    task = PatternTask(nn.Sequential(nn.Conv2d(1, 1, 1), Map(lambda x: x + 1e30)))
    image = torch.rand(2, 1, 8, 8)
    lines = stopped(task, trainer, PatternBatch(image, image, image, image, torch.ones(2), ["a", "b"]))
    assert lines[0].startswith("the loss is inf at step 0 ")
    assert lines[1] == "first place: the loss itself, since the outputs of all modules are finite"


def test_a_loss_that_is_a_module(trainer: Trainer) -> None:
    task = RestorationTask(nn.Sequential(nn.Conv2d(3, 3, 1), Map(lambda x: x + 1e30)))
    assert "loss (MSELoss): its output (float32) holds inf" in stopped(task, trainer, pair(16, 16))[1]


def test_what_does_not_happen_again_is_said_to(trainer: Trainer) -> None:
    values = iter([NAN, 1.0])
    where = stopped(classifier(nn.Linear(4, 3), Map(lambda x: x * next(values))), trainer)[1]
    assert where.startswith("first place: not found, since the step gives a finite loss when it is run again")


def test_a_compiled_network_is_looked_into(trainer: Trainer) -> None:
    """By a run that is not compiled: there are no modules in a graph."""
    graphs: list[int] = []
    task = classifier(Body(Map(torch.log)))
    task.network.compile(backend=lambda graph, inputs: graphs.append(1) or graph)
    assert "network.1.log (Map): its output" in stopped(task, trainer)[1]
    assert len(graphs) == 1


def lit(task: Task, name: str) -> Task:
    """A task with one weight that is not finite."""
    with torch.no_grad():
        task.get_parameter(name).view(-1)[0] = NAN
    return task


def vdn() -> VariationalDenoiser:
    return VariationalDenoiser(DNet(widths=(4, 4)), SNet(width=4, depth=3))


@pytest.mark.parametrize("task", ["counting", "kernels", "levels", "variational"])
def test_every_task_says_where(task: str, trainer: Trainer) -> None:
    if task == "counting":
        broken, batch = CountingTask(Seen()), crowd([(8, 8)], 16, 16)
    elif task == "kernels":
        broken, batch = RestorationTask(KPN(width=16, depth=1), channels="y"), pair(16, 16)
    elif task == "levels":
        broken, batch = RestorationTask(LPKPN(width=16, depth=1), channels="y", loss=PyramidLoss()), pair(16, 16)
    else:
        broken, batch = VariationalTask(vdn()), pair(16, 16)
    name = [name for name, _ in broken.network.named_parameters()][-1]
    path, _, leaf = f"network.{name}".rpartition(".")
    kind = type(broken.get_submodule(path)).__name__
    where = stopped(lit(broken, f"network.{name}"), trainer, batch)[1]
    assert where.startswith(f"first place: {path} ({kind}): its {leaf} is not finite")


def test_nothing_is_changed_by_looking(trainer: Trainer) -> None:
    """The second run draws what the first did, and leaves everything as the first left it."""
    drawn: list[Tensor] = []
    gradients: list[bool] = []
    states: list[tuple[Tensor, Any, Any]] = []

    def draw(x: Tensor) -> Tensor:
        drawn.append(torch.rand(3))
        gradients.append(torch.is_grad_enabled())
        assert random.random() + np.random.random() > 0
        states.append((torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()))
        return x * NAN

    norm = nn.BatchNorm1d(4)
    task = classifier(norm, nn.Dropout(), nn.Linear(4, 3), Map(draw))
    mean, weights = norm.running_mean, {name: p.detach().clone() for name, p in task.named_parameters()}
    batch = labelled()
    modes: list[bool] = []
    norm.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    stopped(task, trainer, batch)
    assert modes == [True, True]
    assert gradients == [True, False]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.get_rng_state(), states[0][0])
    assert np.array_equal(np.random.get_state()[1], states[0][1])
    assert random.getstate() == states[0][2]
    assert norm.running_mean is mean
    torch.testing.assert_close(mean, 0.1 * batch.image.flatten(1).mean(dim=0))  # one update
    assert int(norm.num_batches_tracked) == 1
    assert all(torch.equal(p, weights[name]) and p.grad is None for name, p in task.named_parameters())
    hooks = [hook for m in task.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    assert len(hooks) == 1  # the test's own


def test_single_precision_is_recommended_to_those_who_have_another(tmp_path: Path) -> None:
    for precision, words in (("bf16-mixed", True), ("32-true", False)):
        trainer = Trainer(
            precision=precision, accelerator="cpu", logger=False, enable_checkpointing=False, max_epochs=1,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        assert ("--trainer.precision=32-true" in stopped(classifier(Body()), trainer)[2]) == words


def test_no_checkpoint_gets_weights_that_are_not_finite(trainer: Trainer, tmp_path: Path) -> None:
    """The square root of 0 is finite, its gradient is not: the loss would tell only at the next step."""
    task = classifier(constant(4, 3, 0.0), Map(torch.sqrt))
    trainer.fit(task, DataLoader([labelled()], batch_size=None))
    with pytest.raises(TrainingError) as error:
        trainer.save_checkpoint(tmp_path / "bad.ckpt")
    assert not list(tmp_path.glob("*.ckpt"))
    lines = str(error.value).splitlines()
    assert re.match(r"weights are not finite after step 1 \(epoch \d\), so no checkpoint of them is kept", lines[0])
    assert lines[1].startswith("first place: network.1 (Linear): its weight is not finite since an earlier step, as ")
    assert len(lines) == 4


def test_a_finite_training_goes_on(trainer: Trainer, tmp_path: Path) -> None:
    trainer.fit(classifier(nn.Linear(4, 3)), DataLoader([labelled(), labelled()], batch_size=None))
    trainer.save_checkpoint(tmp_path / "good.ckpt")
    assert trainer.global_step == 2
    assert (tmp_path / "good.ckpt").is_file()
