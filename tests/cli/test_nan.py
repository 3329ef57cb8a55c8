"""What users read when a training diverges, and what it leaves behind."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, distributed, nn

from acda import ACDAConv2d
from acda.models import LeNet
from lit_modules.errors import TrainingError
from tests.cli.conftest import Refuse, run
from tests.cli.programs import CONFIGS, program

DIVERGING = (
    *("fit", "--config", CONFIGS / "digits" / "lenet_acda.yaml", "--config", CONFIGS / "trainer" / "cpu.yaml"),
    *("--model.optimizer=torch.optim.SGD", "--model.optimizer.init_args.lr=1e38"),
)
OVERFLOWING = (*DIVERGING, "--model.optimizer.init_args.weight_decay=1e10", "--trainer.max_epochs=1")
RUN = Path("runs/digits/lenet_acda/version_0")


def network() -> LeNet:
    return LeNet(10, in_channels=1, image_size=8, conv=ACDAConv2d, kernel_size=5, padding=2)


def named(line: str) -> nn.Module:
    """Find the module that a message names as the first place."""
    found = re.match(r"first place: network\.(\S+) \((\w+)\): its ", line)
    assert found is not None, line
    module = network().get_submodule(found[1])
    assert type(module).__name__ == found[2]
    return module


def test_a_rate_that_is_too_large(refuse: Refuse) -> None:
    lines = refuse(*DIVERGING, "--trainer.max_epochs=1", "--trainer.limit_train_batches=4", code=1)
    assert re.match(r"error: the loss is (nan|inf|-inf) at step 1 \(epoch 0, batch 1\), samples: digit_\d+, ", lines[0])
    named(lines[1])
    assert "smaller learning rate" in lines[2]
    assert not list(RUN.rglob("*.ckpt"))


def test_checkpoints_hold_the_weights_from_before(refuse: Refuse) -> None:
    lines = refuse(*DIVERGING, "--trainer.max_epochs=3", "--trainer.limit_train_batches=1", code=1)
    assert "at step 1 (epoch 1, batch 0)" in lines[0]
    assert "--ckpt_path last" in lines[3]
    paths = sorted((RUN / "checkpoints").glob("*.ckpt"))
    assert "last.ckpt" in [path.name for path in paths]
    for path in paths:
        weights = torch.load(path, weights_only=True)["state_dict"]
        assert all(weights[f"network.{name}"].isfinite().all() for name, _ in network().named_parameters())


def test_a_weight_that_a_step_spoiled_is_named(refuse: Refuse) -> None:
    """1e38 · 1e10 · weight is infinite in single precision."""
    lines = refuse(*OVERFLOWING, "--trainer.limit_train_batches=2", code=1)
    assert "at step 1 (epoch 0, batch 1)" in lines[0]
    module = named(lines[1])
    assert "since an earlier step" in lines[1]
    assert list(module.parameters(recurse=False))


def test_the_last_step_is_looked_at_too(refuse: Refuse) -> None:
    lines = refuse(*OVERFLOWING, "--trainer.limit_train_batches=1", code=1)
    assert lines[0] == "error: weights are not finite after step 1 (epoch 0), so no checkpoint of them is kept"
    named(lines[1])
    assert not list(RUN.rglob("*.ckpt"))


def test_debugging_shows_the_traceback(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACDA_DEBUG", "1")
    with pytest.raises(TrainingError, match="the loss is"):
        run(*DIVERGING, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2")


class OneProcess(nn.Module):
    """Logits that are not finite in the second of two processes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.broken = nn.Identity()
        self.broken.register_forward_hook(lambda module, args, x: x * float("nan") if distributed.get_rank() else x)

    def forward(self, image: Tensor) -> Tensor:
        return self.broken(self.layer(image.flatten(1)))


@pytest.mark.slow
def test_all_processes_stop_together() -> None:
    config = yaml.safe_load((CONFIGS / "digits" / "lenet.yaml").read_text())
    config["model"]["init_args"]["network"] = f"{__name__}.OneProcess"
    Path("one.yaml").write_text(yaml.safe_dump(config))
    ended = program(
        *("fit", "--config", "one.yaml", "--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"),
    )
    assert ended.returncode == 1
    when = "at step 0 (epoch 0, batch 0)"
    assert f"error: the loss of another process is not finite {when}; that process says where" in ended.stderr
    assert f"error: the loss is nan {when}, samples: " in ended.stderr
    assert "first place: network.broken (Identity): its output (float32) holds nan" in ended.stderr
    assert "Traceback" not in ended.stderr
