"""What processes that load data say."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from multiprocessing.resource_sharer import DupFd, stop

import pytest

from datamodules.workers import leave_signals_to_the_main_process


@pytest.fixture
def _worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process takes what a loader's process does for it."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_: None)
    monkeypatch.setattr("datamodules.workers._end_with_the_main_process", lambda: None)
    leave_signals_to_the_main_process(0)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_worker")
def test_nothing_is_said_of_a_main_process_that_goes_away_while_it_is_handed_a_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    read, write = os.pipe()
    shared = DupFd(read)
    with socket.socket(socket.AF_UNIX) as main:
        main.connect(shared._id[0])
    stop(timeout=10)  # when it has served
    os.close(read)
    os.close(write)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("_worker")
@pytest.mark.parametrize("kind", [ValueError, ConnectionResetError])
def test_other_errors_are_said(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise kind("what")
    except kind as error:
        sys.excepthook(kind, error, error.__traceback__)
    assert f"{kind.__name__}: what" in capsys.readouterr().err
