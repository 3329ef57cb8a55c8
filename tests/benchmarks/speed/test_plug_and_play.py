"""``python -m benchmarks.speed.plug_and_play`` on a small network."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.speed import plug_and_play
from benchmarks.speed.plug_and_play import Subject, UNet
from tests.benchmarks import rows_of


def small() -> nn.Module:
    return UNet((4, 8))


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plug_and_play, "subjects", lambda: {"all": Subject(small), "down": Subject(small, "down.0.*")})
    plug_and_play.main(["--csv", str(tmp_path / "rows.csv")])
    rows = {row["network"]: row for row in rows_of(tmp_path / "rows.csv")}
    assert rows["all"]["replaced"] == "6" and rows["all"]["kept"] == "1"  # the head is 1×1
    assert rows["down"]["replaced"] == "2"
    assert {row["runs"] for row in rows.values()} == {"ok"}
    assert int(rows["all"]["parameters_before"]) == sum(p.numel() for p in small().parameters())
    assert "forward and backward" in capsys.readouterr().out


def test_unet_keeps_the_size() -> None:
    assert UNet((2, 4, 6, 8))(torch.randn(1, 3, 16, 24)).shape == (1, 2, 16, 24)


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(1, 1)
        self.conv = nn.Conv2d(3, 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def test_parameters_without_gradient_are_named() -> None:
    assert plug_and_play.runs(Broken()) == "no finite gradient: unused.weight, unused.bias"
