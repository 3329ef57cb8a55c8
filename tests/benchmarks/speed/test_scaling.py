"""``python -m benchmarks.speed.scaling`` on tiny batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.speed import scaling
from benchmarks.speed.network import NUM_CLASSES, Setup
from tests.benchmarks import rows_of

SETUP = Setup("ad_resnet_s", 4, 8, torch.float32, "cpu")


@pytest.mark.slow
def test_rows_and_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    scaling.main(["--batch", "4", "--size", "64", "--rounds", "2", "--csv", str(path)])
    assert "times faster" in capsys.readouterr().out
    alone, shared = rows_of(path)
    for row, processes in ((alone, "1"), (shared, "2")):
        assert row["status"] == "ok" and row["processes"] == processes and row["convolution"] == "acda"
        assert float(row["steps_per_s"]) == pytest.approx(1e3 / float(row["step_ms"]), rel=1e-6)
        for kind in ("step", "evaluation"):
            speed_up = float(alone[f"{kind}_ms"]) / float(row[f"{kind}_ms"])
            assert float(row[f"{kind}_speed_up"]) == pytest.approx(speed_up, rel=1e-6)
        parameters_gradients_momentum = 3 * 4 * 3_846_648 / 2**20
        assert float(row["process_mib"]) > parameters_gradients_momentum


def test_mean_over_parts_is_the_gradient_of_the_batch() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, NUM_CLASSES))
    torch.manual_seed(0)
    images, labels = SETUP.images(), torch.randint(NUM_CLASSES, (4,))
    true = torch.autograd.grad(F.cross_entropy(net(images), labels), list(net.parameters()))
    got = scaling.part_gradients(net, SETUP, range(2), 2)
    torch.testing.assert_close(got, torch.cat([gradient.flatten() for gradient in true]))
    first, second = (scaling.part_gradients(net, SETUP, [part], 2) for part in range(2))
    assert not torch.allclose(first, second)
    torch.testing.assert_close((first + second) / 2, got)


def test_wrong_gradients_get_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def team(processes: int, setup: Setup, convolution: str) -> Iterator[Callable[..., list[Any]]]:
        right = torch.ones(5)
        one_wrong = [right.numpy(), (right if processes == 1 else 1.001 * right).numpy()][:processes]
        yield lambda name, *_: one_wrong if name == "gradients" else [1.0] * processes

    monkeypatch.setattr(scaling, "team", team)
    alone, shared = scaling.measure(SETUP, "acda", [1, 2], 2)
    assert alone["status"] == "ok" and alone["step_ms"]
    assert shared["status"] == "wrong: gradient of all weights is off by 0.001, allowed 1e-05"
    assert "step_ms" not in shared and shared["step_speed_up"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "5"], "--processes must be from 2 and divide --batch=5, got [2]"),
        (["--processes", "1"], "--processes must be from 2 and divide --batch=16, got [1]"),
        (
            ["--network", "resnet18", "--convolution", "dfn"],
            "--convolution must be one of plain, acda for resnet18, got dfn",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scaling.main(arguments)
    assert message in capsys.readouterr().err
