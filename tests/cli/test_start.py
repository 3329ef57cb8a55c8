"""What the program does before anything is trained."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_modules.cli import cli
from lit_modules.lightning_private import OpenCLI
from tests.cli.conftest import run

ROOT = Path(__file__).parents[2]
# Each takes from a tenth of a second to one, and not every run needs it.
HEAVY = ("albumentations", "pydantic", "sklearn", "torch.utils.tensorboard", "numba", "onnx", "pandas", "matplotlib")


@pytest.mark.slow
def test_nothing_heavy_is_imported_beside_lightning() -> None:
    code = f"""
import sys, lightning.pytorch.cli
before = set(sys.modules)
import cli
print({{*{HEAVY}}} & (set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_the_program_adds_no_arguments_of_subcommands(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("arguments are added")

    monkeypatch.setattr(OpenCLI, "make_subcommand_parser", refuse)
    with pytest.raises(SystemExit) as ended:
        run(option)
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert all(f"    {subcommand} " in shown for subcommand in ("fit", "validate", "test", "predict", "export"))


@pytest.mark.parametrize(("value", "calls"), [(None, 1), ("1", 1), ("0", 0)])
def test_freed_memory_is_kept_unless_refused(value: str | None, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: called.append(True))
    if value is None:
        monkeypatch.delenv("ACDA_KEEP_MEMORY", raising=False)
    else:
        monkeypatch.setenv("ACDA_KEEP_MEMORY", value)
    with pytest.raises(SystemExit):
        run("--help")
    assert len(called) == calls


def test_what_becomes_of_freed_memory_is_told_at_debug_level(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACDA_KEEP_MEMORY", "1")
    monkeypatch.setenv("MALLOC_TOP_PAD_", "131072")  # so that this process's allocator stays as it is
    with pytest.raises(SystemExit):
        run("--log_level=debug", "--help")
    assert "debug: freed memory goes back to the system" in capsys.readouterr().err
