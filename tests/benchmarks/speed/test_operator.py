"""``python -m benchmarks.speed.operator`` on tiny shapes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acda.ops import functional
from benchmarks.speed import forms, operator, timing
from benchmarks.speed.forms import Shape
from benchmarks.speed.operator import Candidate
from tests.benchmarks import rows_of

CPU = torch.device("cpu")
SHAPE = "2x4x6x7x5"
FEW = ("published", "conv2d *", "acda reference")


def run(path: Path, *arguments: str) -> dict[str, dict[str, str]]:
    operator.main(["--device", "cpu", "--rounds", "2", "--no-memory", "--csv", str(path), *arguments])
    return {row["candidate"]: row for row in rows_of(path)}


def test_rows_and_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run(tmp_path / "new" / "operator.csv", "--shapes", SHAPE)
    backends = {
        f"acda {name}" for name, b in functional._BACKENDS.items() if b.cannot_run(torch.empty(1, 4, 6, 7)) is None
    }
    assert set(rows) == {"published", "basis_first", "conv2d NHWC", "conv2d NCHW"} | backends
    out = capsys.readouterr().out
    assert out.startswith("shape") and "× faster than published: forward" in out and "The faster conv2d: " in out
    for kind in ("forward", "step"):
        milliseconds = {name: float(row[f"{kind}_ms"]) for name, row in rows.items()}
        dense = min(milliseconds["conv2d NHWC"], milliseconds["conv2d NCHW"])
        for name, row in rows.items():
            assert row["status"] == "ok" and row["shape"] == SHAPE and row["rounds"] == "2" and row["torch"]
            faster = milliseconds["published"] / milliseconds[name]
            assert float(row[f"faster_{kind}"]) == pytest.approx(faster, rel=1e-6)
            assert float(row[f"conv2d_{kind}"]) == pytest.approx(milliseconds[name] / dense, rel=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_dtypes(dtype: str, tmp_path: Path) -> None:
    rows = run(tmp_path / "rows.csv", "--shapes", SHAPE, "--dtype", dtype, "--only", "published", "acda reference")
    assert [row["status"] for row in rows.values()] == ["ok", "ok"]
    assert {row["dtype"] for row in rows.values()} == {dtype}


def wrong_output(*operands: Any) -> Tensor:
    y = forms.published(*operands)
    return y + 0.001 * y.detach()


def wrong_gradient(x: Tensor, coefficients: Tensor, *rest: Any) -> Tensor:
    return forms.published(x, coefficients * 0.5 + coefficients.detach() * 0.5, *rest)


def broken(*operands: Any) -> Tensor:
    raise NotImplementedError("no kernel")


@pytest.mark.parametrize(
    ("form", "status"),
    [
        (wrong_output, "wrong: y is off by 0.001, allowed 1e-05"),
        (wrong_gradient, "wrong: gradient of coefficients is off by 0.5, allowed 1e-05"),
        (broken, "failed: NotImplementedError('no kernel')"),
    ],
)
def test_wrong_candidate_gets_no_time(
    form: forms.Form, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"published": Candidate(forms.published), "acda bad": Candidate(form, ours=True)}
    monkeypatch.setattr(operator, "candidates", lambda dtype, device: found)
    rows = run(tmp_path / "rows.csv", "--shapes", SHAPE)
    bad = rows["acda bad"]
    assert bad["status"] == status and status in capsys.readouterr().out
    assert not any(bad[f"{column}_{kind}"] for column in ("faster", "conv2d") for kind in ("forward", "step"))
    assert not any(bad[f"{kind}_ms"] for kind in ("forward", "step"))
    assert rows["published"]["step_ms"]


def test_refused_candidate_shows_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "available_bytes", lambda device: 20_000)
    rows = run(tmp_path / "rows.csv", "--shapes", SHAPE, "--only", *FEW)
    needs = 3 * 25 * 2 * 4 * 6 * 7 * 4 / 2**30
    assert rows["published"]["status"] == f"refused: needs {needs:.3g} GiB, {20_000 / 2**30:.3g} GiB available"
    assert not rows["published"]["forward_ms"]
    reference = rows["acda reference"]
    assert reference["status"] == "ok" and reference["step_ms"] and reference["conv2d_step"]
    assert not reference["faster_step"]


def test_backend_that_cannot_run_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    backend = functional._BACKENDS["reference"]._replace(cannot_run=lambda x: "needs a fast machine")
    monkeypatch.setitem(functional._BACKENDS, "swift", backend)
    assert "acda swift" not in operator.candidates(torch.float32, CPU)
    run(tmp_path / "rows.csv", "--shapes", SHAPE, "--only", "acda reference")
    assert "acda swift cannot run: needs a fast machine" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell peak memory")
def test_published_form_needs_many_copies() -> None:
    shape = Shape(1, 64, 28, 28, 7)
    mib = timing.peak_extra_mib(operator.prepare, ("published", shape, torch.float32, "cpu", "step"), CPU)
    one = shape.pixels * shape.channels * 4 / 2**20
    estimate = operator.candidates(torch.float32, CPU)["published"].copies(7)
    assert mib is not None and 2 * 49 * one < mib < 2 * estimate * one  # a small image: other memory counts too


def test_memory_is_compared_with_the_published_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    peaks = {"published": 10.0, "acda reference": 0.5}
    monkeypatch.setattr(timing, "peak_extra_mib", lambda prepare, arguments, device: peaks[arguments[0]])
    rows = run(tmp_path / "rows.csv", "--shapes", SHAPE, "--only", *peaks, "--memory")
    assert {name: float(row["step_memory"]) for name, row in rows.items()} == {"published": 1, "acda reference": 0.05}


def test_targets() -> None:
    row = {"device": "cpu", "dtype": "float32", "shape": "4x64x64x64x3", "faster_forward": 4.0, "faster_step": 2.5}
    assert operator.targets({**row, "conv2d_forward": 1.6, "conv2d_step": 2.0}) == (
        "faster_forward 4 ≥ 4 met; faster_step 2.5 ≥ 3 MISSED; conv2d_forward 1.6 ≤ 1.6 met; "
        "conv2d_step 2 ≤ 1.8 MISSED; step_memory ≤ 0.1 not measured"
    )
    assert operator.targets({**row, "shape": SHAPE}) == ""
    for device, shapes in operator.DEFAULT_SHAPES.items():
        assert {shape for kind, _, shape in operator.TARGETS if kind == device} == set(shapes)


def test_targets_are_those_of_the_fastest_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(operator.TARGETS, ("cpu", "float32", SHAPE), {"forward_ms": 1e9})
    rows = run(tmp_path / "rows.csv", "--shapes", SHAPE, "--only", *FEW)
    assert rows["acda reference"]["targets"].endswith("≤ 1e+09 met") and not rows["published"]["targets"]
    assert "Targets of acda reference: forward_ms " in capsys.readouterr().out


def test_scaling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "peak_extra_mib", lambda prepare, arguments, device: 1.0)
    path = tmp_path / "rows.csv"
    run(path, "--scaling", "8", "12", "--memory")
    rows = rows_of(path)
    assert [row["shape"] for row in rows] == ["1x64x8x8x7"] * 2 + ["1x64x12x12x7"] * 2
    for row in rows:
        pixels = int(row["shape"].split("x")[2]) ** 2
        for kind in ("forward", "step"):
            per_pixel = 1e6 * float(row[f"{kind}_ms"]) / pixels
            assert float(row[f"{kind}_ns_per_pixel"]) == pytest.approx(per_pixel, rel=1e-6)
            assert float(row[f"{kind}_bytes_per_pixel"]) == pytest.approx(2**20 / pixels, rel=1e-6)
