"""What is logged is shown as lines, once, by the command line alone."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator

import pytest
import rich
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader

import datamodules
from lit_modules.cli.log_lines import LEVELS, format_line, show_lines

OURS = ("acda.layers", "datamodules.files", "lit_modules.tasks")


def say(number: int) -> int:
    logging.getLogger("datamodules.files").warning("photograph %d is left out", number)
    logging.getLogger("datamodules.files").info("%d\u2009%% of a %s", 50, "\U0001f4f7" * 2000)
    return number


class Photographs:
    def __len__(self) -> int:
        return 40

    def __getitem__(self, number: int) -> int:
        return say(number)


def shown(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return capfd.readouterr().err.splitlines()


@pytest.mark.parametrize(("level", "number"), [(level, i) for i, level in enumerate(LEVELS)])
def test_lines_from_a_level_on(level: str, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with show_lines(level):
        for name in OURS:
            for each in LEVELS:
                getattr(logging.getLogger(name), each)("%d heads of %s", 3, name)
    prefixes = ["debug: ", "", "warning: ", "error: "]
    assert shown(capfd) == [f"{prefix}3 heads of {name}" for name in OURS for prefix in prefixes[number:]]


def test_before_and_after_nothing_is_shown_but_warnings(capfd: pytest.CaptureFixture[str]) -> None:
    before = [
        (logging.getLogger(name).level, logging.getLogger(name).handlers) for name in logging.root.manager.loggerDict
    ]
    formatting = warnings.formatwarning
    with pytest.raises(KeyError), show_lines("debug"):
        raise KeyError
    assert before == [
        (logging.getLogger(name).level, logging.getLogger(name).handlers) for name in logging.root.manager.loggerDict
    ]
    assert warnings.formatwarning is formatting
    logging.getLogger("datamodules").info("unseen")
    assert not shown(capfd)


@pytest.mark.parametrize("package", ["acda", "datamodules", "lit_modules"])
def test_a_library_is_silent(package: str, capfd: pytest.CaptureFixture[str]) -> None:
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == package]
    assert loggers
    assert not [logger for logger in loggers if logger.handlers or logger.level != logging.NOTSET]
    loggers[0].info("unseen")
    assert not shown(capfd)


def test_a_line_is_shown_once_for_all_processes(capfd: pytest.CaptureFixture[str]) -> None:
    with show_lines("info"):
        for _ in range(2):  # epochs
            list(DataLoader(Photographs(), batch_size=4, num_workers=2))  # type: ignore[arg-type]
            say(3)
    lines = shown(capfd)
    assert sorted(line for line in lines if "warning" in line) == sorted(
        f"warning: photograph {number} is left out" for number in range(40)
    )
    cut, whole = sorted((line for line in lines if "warning" not in line), key=len)
    assert whole.startswith(cut)
    assert len(lines) == 42


@pytest.fixture
def second_rank(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    yield


@pytest.mark.usefixtures("second_rank")
def test_other_ranks_say_only_what_no_other_can(capfd: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("datamodules")
    with show_lines("info"):
        log.warning("of all")
        log.warning("of this one", extra={"every_rank": True})
        rank_zero_info("of the first")
    assert shown(capfd) == ["warning: of this one"]


def test_warnings_are_lines_where_they_are_of_this_project(capfd: pytest.CaptureFixture[str]) -> None:
    ours, others = str(datamodules.__file__), str(pytest.__file__)
    for level in ("info", "error"):
        with show_lines(level):
            for file in (ours, others):
                sys.stderr.write(warnings.formatwarning("odd\u00e9", UserWarning, file, 1, line="x = 1"))
    assert shown(capfd) == [
        *("warning: odd\u00e9", f"{others}:1: UserWarning: odd\u00e9", "  x = 1"),
        *(f"{others}:1: UserWarning: odd\u00e9", "  x = 1"),
    ]


def test_a_progress_bar_stays_whole(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    console = Console(force_terminal=True, width=60, file=sys.stdout, color_system=None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    with show_lines("info"), Progress(console=console, auto_refresh=False) as bar:
        task = bar.add_task("training", total=3)
        for step in range(3):
            logging.getLogger("lit_modules").info("step %d of three", step)
            bar.advance(task)
            bar.refresh()
    out, err = capfd.readouterr()
    assert not err  # it would be written through the bar
    for step in range(3):
        line = next(line for line in out.splitlines() if f"step {step} of three" in line)
        assert "training" not in line.split("step")[1]


@pytest.mark.parametrize(("level", "colour"), [(logging.WARNING, "33"), (logging.ERROR, "31"), (logging.INFO, None)])
def test_colours_are_for_terminals(level: int, colour: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = format_line("text", level)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert format_line("text", level) == (f"\x1b[{colour}m{plain.strip()}\x1b[0m\n" if colour else plain)
    monkeypatch.setenv("NO_COLOR", "1")
    assert format_line("text", level) == plain


def test_nothing_is_left_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with show_lines("info"):
        pass
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # that of listing them
