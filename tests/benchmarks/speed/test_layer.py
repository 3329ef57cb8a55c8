"""``python -m benchmarks.speed.layer`` on a tiny shape."""

from pathlib import Path

import pytest
import torch

from acda import ACDAConv2d
from benchmarks.speed import layer
from benchmarks.speed.forms import Shape
from tests.benchmarks import rows_of

CPU = torch.device("cpu")
SHAPE = Shape(2, 8, 6, 7, 3)
ARGUMENTS = ["--device", "cpu", "--rounds", "2", "--no-memory", "--shapes", str(SHAPE)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_and_ratios(dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    layer.main([*ARGUMENTS, "--dtype", dtype, "--csv", str(path)])
    rows = {row["part"]: row for row in rows_of(path)}
    assert list(rows) == ["conv2d", "ACDAConv2d", "generator", "operator"]
    assert "share of the layer" in capsys.readouterr().out
    for kind in ("forward", "step"):
        milliseconds = {name: float(row[f"{kind}_ms"]) for name, row in rows.items()}
        for name, row in rows.items():
            assert row["status"] == "ok"
            ratio = milliseconds[name] / milliseconds["conv2d"]
            assert float(row[f"conv2d_{kind}"]) == pytest.approx(ratio, rel=1e-6)
            if name != "conv2d":
                share = milliseconds[name] / milliseconds["ACDAConv2d"]
                assert float(row[f"share_{kind}"]) == pytest.approx(share, rel=1e-6)


def test_wrong_layer_gets_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ACDAConv2d.forward
    monkeypatch.setattr(ACDAConv2d, "forward", lambda self, x: right(self, x) * 1.001)
    path = tmp_path / "rows.csv"
    layer.main([*ARGUMENTS, "--dtype", "float32", "--csv", str(path)])
    rows = {row["part"]: row for row in rows_of(path)}
    assert rows["ACDAConv2d"]["status"].startswith("wrong: y is off by 0.001")
    assert not rows["ACDAConv2d"]["forward_ms"] and not rows["operator"]["step_ms"]
    assert rows["conv2d"]["forward_ms"] and rows["generator"]["step_ms"]


def test_modes() -> None:
    part = layer.parts(SHAPE, torch.float32, CPU)["ACDAConv2d"]
    x = part.inputs[0]
    assert x.is_contiguous(memory_format=torch.channels_last)
    y = part.forward()
    assert not part.module.training and not y.requires_grad
    run, warm_up = layer.prepare("ACDAConv2d", SHAPE, torch.float32, "cpu")
    for step in (part.step(), run, warm_up):
        gradients = step()
        assert isinstance(gradients, tuple) and len(gradients) == 1 + len(list(part.module.parameters()))
    assert part.module.training
