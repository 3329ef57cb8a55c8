"""``python -m benchmarks.speed.network`` on a small network."""

from pathlib import Path

import pytest
import torch
from torch import nn

from acda import ACDAConv2d, DynamicFilterConv2d, convert_conv2d
from benchmarks.speed import network, timing
from benchmarks.speed.network import Setup
from tests.benchmarks import rows_of


def plain() -> nn.Module:
    conv = nn.Conv2d(8, 8, 5, stride=2, padding=2, bias=False)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, network.NUM_CLASSES))
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), conv, *head)


def adaptive() -> nn.Module:
    return convert_conv2d(plain(), names="3").model


@pytest.fixture(autouse=True)
def only_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(network.NETWORKS, "small", {"plain": plain, "acda": adaptive})


def run(path: Path, *arguments: str) -> dict[str, dict[str, str]]:
    size = ["--network", "small", "--batch", "2", "--size", "12"]
    network.main(["--device", "cpu", "--rounds", "2", "--no-memory", "--csv", str(path), *size, *arguments])
    return {row["convolution"]: row for row in rows_of(path)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_and_ratios(dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(tmp_path / "rows.csv", "--dtype", dtype)
    assert list(rows) == ["plain", "acda"] and "images/s" in capsys.readouterr().out
    for row in rows.values():
        assert row["status"] == "ok" and row["batch"] == "2" and row["size"] == "12"
        ratio = float(row["step_ms"]) / float(rows["plain"]["step_ms"])
        assert float(row["plain_step"]) == pytest.approx(ratio, rel=1e-6)
        assert float(row["images_per_s"]) == pytest.approx(2e3 / float(row["step_ms"]), rel=1e-6)
    numbers = 8 * 27 + 8 + 16 + 8 * 8 * 25 + 8 * 1000 + 1000
    assert int(rows["plain"]["parameters"]) == numbers
    assert int(rows["plain"]["macs"]) == 144 * 8 * 27 + 36 * 8 * 8 * 25 + 8 * 1000


def test_wrong_layer_gets_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = ACDAConv2d.forward
    monkeypatch.setattr(ACDAConv2d, "forward", lambda self, x: right(self, x) * 1.001)
    rows = run(tmp_path / "rows.csv", "--dtype", "float32")
    assert rows["acda"]["status"] == "wrong: y is off by 0.001, allowed 1e-05 (y of 3)"
    assert not rows["acda"]["step_ms"] and not rows["acda"]["plain_step"] and rows["plain"]["step_ms"]


def test_step_trains() -> None:
    run_step, warm_up = network.prepare(Setup("small", 2, 12, torch.float32, "cpu"), "acda")
    assert warm_up() is None and run_step() is None
    setup = Setup("small", 2, 12, torch.float32, "cpu")
    net = setup.build("acda")
    weights = [parameter for parameter in net.parameters() if parameter.dim() > 1]
    before = [weight.clone() for weight in weights]
    setup.step(net, network.optimizer_of(net))()
    assert not any(torch.equal(a, b) for a, b in zip(before, weights, strict=True))


def test_resnet18_has_large_filters_of_both_kinds() -> None:
    nets = {name: build() for name, build in network.NETWORKS["resnet18"].items()}
    sides = {}
    for name, net in nets.items():
        kinds = (nn.Conv2d, ACDAConv2d) if name == "plain" else ACDAConv2d
        sides[name] = {
            module_name: (module.kernel_size, module.stride, module.padding)
            for module_name, module in net.named_modules()
            if isinstance(module, kinds) and module_name.startswith(("layer3", "layer4")) and module.kernel_size[0] > 1
        }
        with torch.no_grad():
            assert net.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)
    assert sides["plain"] == sides["acda"] and len(sides["plain"]) == 8
    assert [side[0] for side, _, _ in sides["plain"].values()] == [7] * 4 + [5] * 4


def test_per_pixel_filters_are_refused_with_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """N·O·C·l²·H·W numbers and as many gradients, and three times the parameters, more than there is."""

    def dynamic() -> nn.Module:
        return nn.Sequential(DynamicFilterConv2d(3, 2, 5, padding=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    monkeypatch.setitem(network.NETWORKS, "small", {"plain": plain, "dfn": dynamic})
    numbers = sum(p.numel() for p in dynamic().parameters())
    needed = 4 * (3 * numbers + 2 * 2 * 2 * 3 * 25 * 12 * 12)
    assert Setup("small", 2, 12, torch.float32, "cpu").least_bytes("dfn") == needed
    monkeypatch.setattr(timing, "available_bytes", lambda device: needed - 1)
    row = run(tmp_path / "rows.csv", "--dtype", "float32")["dfn"]
    assert row["status"].startswith(f"refused: needs {needed / 2**30:.3g} GiB")
    assert not row["step_ms"]
    assert int(row["parameters"]) == numbers
