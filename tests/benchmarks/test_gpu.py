import csv
import importlib
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Part
from benchmarks.speed import profile_step


def test_where_the_time_of_a_step_goes(tmp_path: Path) -> None:
    result = tmp_path / "profile.csv"
    small = ["--device=cpu", "--batch=2", "--size=32", "--rounds=1", "--network=resnet18"]
    profile_step.main([*small, f"--csv={result}"])
    with result.open() as file:
        rows = list(csv.DictReader(file))
    for convolution in ("plain", "acda"):
        own = [row for row in rows if row["convolution"] == convolution]
        shares = [float(row["share"]) for row in own]
        assert shares == sorted(shares, reverse=True)
        assert 0.3 < sum(shares) <= 1
        assert any("convolution_backward" in row["operator"] for row in own)
    assert any("acda::" in row["operator"] for row in rows if row["convolution"] == "acda")


def test_without_a_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no GPU"):
        gpu.main([])


def test_parts_are_commands_that_exist(tmp_path: Path) -> None:
    """Each is asked for its help, after its own arguments were read."""
    parts = gpu.parts(tmp_path)
    tests = parts.pop("tests")
    assert tests.arguments[:4] == ("pytest", "-q", "-m", "")  # whether slow or not
    assert all((gpu.ROOT / argument).is_file() for argument in tests.arguments[4:])
    for part in parts.values():
        module, *arguments = part.arguments
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(module).main([*arguments, "--help"])
        assert ended.value.code == 0
    assert tests.seconds + sum(part.seconds for part in parts.values()) < 9 * 60


def test_a_part_that_fails_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    commands = {
        "broken": Part(("no_such_module",), 60),
        "endless": Part(("timeit", "-n", "1", "import time; time.sleep(60)"), 1),
        "fine": Part(("this",), 60),
    }
    monkeypatch.setattr(gpu, "parts", lambda folder: commands)
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--folder", str(tmp_path)])
    assert ended.value.code == 1
    outcomes = [line.split("  ")[-1].strip() for line in capfd.readouterr().out.splitlines()[-3:]]
    assert outcomes[0].startswith("failed with exit code 1")
    assert outcomes[1] == "stopped after 1 s"
    assert outcomes[2].startswith("done")
