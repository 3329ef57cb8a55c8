"""Machine code of compiled loops on disk: whose it is, where it lies, what becomes of it when something is wrong."""

import ctypes
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numba
import pytest

from acda.ops.cpu import compiling, fused_loops, kept_code

Loop = Callable[[Any], None]
ROOT = Path(__file__).parents[3]
SOURCE = """
from acda.ops.cpu.vector_code import next_ticket

def adding(step):
    def loop(p):
        p[next_ticket(p, 0)] += step
    return loop
"""


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the machine code, empty."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    compiling._tell.cache_clear()
    kept_code._say_once.cache_clear()
    return tmp_path / "kept" / "acda"


def adding(step: int) -> Loop:
    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        p[1] += step

    return loop


def result(loop: Loop, before: int = 1) -> int:
    """What a loop that adds to its second number makes of it."""
    numbers = (ctypes.c_int64 * 2)(0, before)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiling.address(loop))(ctypes.addressof(numbers))
    return numbers[1]


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("compiled again")


def load(source: str, path: Path) -> Any:
    """Import a file with this text."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("loops_of_a_test", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_compiled_once_is_not_compiled_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert result(adding(41)) == 42
    assert len(list(kept.iterdir())) == 1
    monkeypatch.setattr(compiling, "cfunc", refuse)
    assert result(adding(41), 2) == 43
    with pytest.raises(AssertionError, match="compiled again"):
        compiling.address(adding(40))


def test_the_text_and_the_numbers_decide_and_no_place_or_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = kept_code.file_name(load(SOURCE, tmp_path / "clone" / "loops.py").adding(1))
    pulled = tmp_path / "pulled" / "loops.py"
    same = load(SOURCE, pulled)
    os.utime(pulled, (0, 0))
    assert kept_code.file_name(same.adding(1)) == name
    others = {
        kept_code.file_name(same.adding(2)),
        kept_code.file_name(load(SOURCE.replace("+=", "-="), tmp_path / "changed" / "loops.py").adding(1)),
    }
    with monkeypatch.context() as patch:
        patch.setattr(numba, "__version__", "0.0")
        others.add(kept_code.file_name(same.adding(1)))
    with monkeypatch.context() as patch:
        patch.setattr(kept_code, "_processor", lambda: ("x86_64", "another", "+avx"))
        others.add(kept_code.file_name(same.adding(1)))
    assert len(others | {name}) == 5
    assert kept_code.file_name(same.adding(1)) == name


def test_a_change_of_what_a_loop_is_made_of_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vector code that it calls, here of a copy of the folder."""
    path = tmp_path / "clone" / "loops.py"
    loop = load(SOURCE, path).adding(1)
    for file in kept_code._FOLDER.glob("*.py"):
        (path.parent / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(kept_code, "_FOLDER", path.parent)
    names = []
    for file in ("threads.py", "vector_code.py", "compiling.py"):
        names.append(kept_code.file_name(loop))
        with (path.parent / file).open("a") as opened:
            opened.write("\n# changed\n")
    names.append(kept_code.file_name(loop))
    assert names[0] == names[1]  # no loop is made of threads.py
    assert len(set(names[1:])) == 3


def test_files_that_a_loop_is_made_of() -> None:
    files = {path.name for path in kept_code._sources(Path(str(fused_loops.__file__)))}
    assert files == {"fused_loops.py", "loops.py", "vector_code.py", "compiling.py", "kept_code.py"}


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-1], lambda whole: whole[:40] + b"?" * 99])
def test_a_damaged_file_is_told_and_written_anew(
    damage: Callable[[bytes], bytes], kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert result(adding(5)) == 6
    (file,) = kept.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    caplog.clear()
    assert result(adding(5)) == 6
    assert f"{file} is damaged, the loop is compiled again" in caplog.messages
    assert [*kept.iterdir()] == [file] and kept_code.load(file.name)


def test_where_nothing_can_be_written_it_runs_and_says_so_once(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept.parent.write_text("a file in its place")
    caplog.set_level(logging.INFO, "acda")
    assert [result(adding(step)) for step in (1, 2)] == [2, 3]
    (told,) = (message for message in caplog.messages if "not kept" in message)
    assert told.startswith("compiled loops are not kept on disk, each process compiles them again: ")
    assert str(kept.parent) in told


def test_without_a_home_it_runs(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    caplog.set_level(logging.INFO, "acda")
    assert result(adding(7)) == 8
    assert "compiled loops are not kept on disk, each process compiles them again: no home" in caplog.messages


def test_what_needs_numba_at_run_time_is_not_kept(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    def loop(p):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if p[1] < 0:
            raise ValueError
        p[1] += 1

    caplog.set_level(logging.INFO, "acda")
    assert result(loop) == 2
    assert not kept.exists()
    (told,) = (message for message in caplog.messages if "not kept" in message)
    assert "it needs" in told and "numba_gil_ensure" in told


def test_compiling_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "acda")
    for step in (1, 2):
        compiling.address(adding(step))
    (record,) = (record for record in caplog.records if record.message.startswith("Compiling the loops"))
    assert record.levelno == logging.INFO
    compiling._tell.cache_clear()
    caplog.clear()
    compiling.address(adding(1))
    assert not caplog.messages


def test_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/numba")
    assert kept_code.folder() == Path("/numba/acda")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert kept_code.folder() == Path("/xdg/acda")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert kept_code.folder() == Path("/home/somebody/.cache/acda")


IN_A_NEW_PROCESS = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
import torch
from acda import adaptive_conv2d
torch.manual_seed(0)
x, a = torch.randn(1, 5, 6, 6), torch.rand(1, 2, 3, 6, 6)
psi, weight = torch.randn(3, 3, 3), torch.randn(4, 5, 2)
arguments = (x, a, psi, weight, None, 1, 1)
error = adaptive_conv2d(*arguments, backend="cpu") - adaptive_conv2d(*arguments, backend="reference")
assert error.abs().max() < 1e-5
"""


@pytest.mark.slow
def test_processes_that_start_at_once(kept: Path) -> None:
    def start() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", IN_A_NEW_PROCESS]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    for together, compiles in ((2, True), (1, False)):
        running = [start() for _ in range(together)]
        outputs = [process.communicate(timeout=300)[0] for process in running]
        assert [process.returncode for process in running] == [0] * together
        assert all(("Compiling the loops" in output) == compiles for output in outputs)
        assert [path.name.partition("-")[0] for path in kept.iterdir()] == ["forward_loop"]
