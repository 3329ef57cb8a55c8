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
    parts = gpu.parts(tmp_path, tmp_path / "arrays.npz")
    for name, which in (("tests", "not slow"), ("slow_tests", "slow")):
        tests = parts[name].arguments
        assert tests[:4] == ("pytest", "-q", "-m", which)
        assert all((gpu.ROOT / argument).is_file() for argument in tests[4:])
    for name, part in parts.items():
        if "tests" not in name:
            module, *arguments = part.arguments
            with pytest.raises(SystemExit) as ended:
                importlib.import_module(module).main([*arguments, "--help"])
            assert ended.value.code == 0
    assert "training" not in gpu.parts(tmp_path)


def test_parts_fit_the_time_that_a_gpu_is_lent_for(tmp_path: Path) -> None:
    """Nine minutes at a time, 25 in all; its tests compile some 160 kernels, at one to two seconds each."""
    seconds = {name: part.seconds for name, part in gpu.parts(tmp_path, tmp_path).items()}
    assert max(seconds.values()) <= 9 * 60
    assert sum(seconds.values()) <= 25 * 60
    assert seconds["tests"] + seconds["slow_tests"] >= 600
    calls = [0]
    for limit in seconds.values():  # in their order, as --minutes 9 begins them
        calls = [*calls, limit] if calls[-1] + limit > 9 * 60 else [*calls[:-1], calls[-1] + limit]
    assert len(calls) == 3


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    """Parts in place of those there are, on a machine that has a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(gpu, "machine", lambda: {"commit": "abc", "gpu": "a GPU"})
    listed: dict[str, Part] = {}
    monkeypatch.setattr(gpu, "parts", lambda folder, arrays=None: listed)
    return listed


def outcomes(capfd: pytest.CaptureFixture[str], count: int) -> list[str]:
    """What is said of the last parts."""
    return [line.split("  ")[-1].strip() for line in capfd.readouterr().out.splitlines()[-count:]]


def test_a_part_that_fails_does_not_keep_the_others(
    tmp_path: Path, commands: dict[str, Part], capfd: pytest.CaptureFixture[str]
) -> None:
    commands |= {
        "broken": Part(("no_such_module",), 60),
        "endless": Part(("timeit", "-n", "1", "import time; time.sleep(60)"), 1),
        "fine": Part(("this",), 60),
    }
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--folder", str(tmp_path)])
    assert ended.value.code == 1
    said = outcomes(capfd, 3)
    assert said[0].startswith("failed with exit code 1")
    assert said[1] == "stopped after 1 s"
    assert said[2].startswith("done")


def test_what_is_done_is_not_repeated(
    tmp_path: Path, commands: dict[str, Part], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is, and everything on another GPU or at another commit, or where it is asked for."""
    commands |= {"first": Part(("this",), 40), "second": Part(("no_such_module",), 80), "third": Part(("this",), 40)}
    ran: list[str] = []
    monkeypatch.setattr(gpu, "_run", lambda part: ran.append(part.arguments[0]) or "done in 1 s")
    call = ["--folder", str(tmp_path)]
    gpu.main([*call, "--minutes", "1"])
    assert ran == ["this"]
    assert outcomes(capfd, 3) == ["done in 1 s", *["left: the same command runs it"] * 2]
    monkeypatch.setattr(gpu, "_run", lambda part: ran.append(part.arguments[0]) or "failed with exit code 1 in 1 s")
    with pytest.raises(SystemExit):
        gpu.main(call)
    assert ran == ["this", "no_such_module", "this"]
    assert outcomes(capfd, 3)[0] == "done in 1 s, before"
    monkeypatch.setattr(gpu, "_run", lambda part: ran.append(part.arguments[0]) or "done in 1 s")
    ran.clear()
    gpu.main(call)
    assert ran == ["no_such_module", "this"]
    gpu.main([*call, "--again"])
    assert ran[2:] == ["this", "no_such_module", "this"]
    monkeypatch.setattr(gpu, "machine", lambda: {"commit": "abd", "gpu": "a GPU"})
    gpu.main(call)
    assert len(ran) == 8


def test_a_training_goes_on_unless_it_was_begun_at_another_commit(
    tmp_path: Path, commands: dict[str, Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands["training"] = Part(("timeit", "-n", "1", "import time; time.sleep(60)"), 1)
    arrays = tmp_path / "arrays.npz"
    arrays.touch()
    left = tmp_path / "gpu_training" / "run"
    call = ["--folder", str(tmp_path), "--arrays", str(arrays)]
    for commit, kept in (("abc", False), ("abc", True), ("abd", False)):
        left.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(gpu, "machine", lambda commit=commit: {"commit": commit, "gpu": "a GPU"})
        with pytest.raises(SystemExit):
            gpu.main(call)
        assert left.is_dir() is kept


def test_a_training_needs_its_file(tmp_path: Path, commands: dict[str, Part]) -> None:
    with pytest.raises(SystemExit, match=r"--arrays must be a file, got none\.npz: .* --pack makes one"):
        gpu.main(["--arrays", "none.npz"])
