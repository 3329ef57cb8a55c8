"""What the processes that load data leave to the main one: signals, and what to say of its end."""

import os
import signal
import sys
from multiprocessing import resource_sharer
from threading import Thread
from traceback import walk_tb
from types import TracebackType


def leave_signals_to_the_main_process(worker: int) -> None:
    """Let a loader's process work on until the main process ends it.

    Ctrl-C in a terminal, and SLURM's signals, reach all processes of a run. What the main process then does may need
    further batches, and one that it did not end itself is an error to it.

    Args:
        worker: Number of the process in its loader, as ``worker_init_fn`` gets it.
    """
    sys.excepthook = _say_what_is_of_this_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # not on Linux
        return
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # in the threads that are begun from now on, too
    Thread(target=_end_with_the_main_process, daemon=True).start()


def _end_with_the_main_process() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def _say_what_is_of_this_process(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Print an uncaught error, unless it is that the main process went away while it was handed a batch."""
    handing_over = any(frame.f_code.co_filename == resource_sharer.__file__ for frame, _ in walk_tb(traceback))
    if not (handing_over and issubclass(kind, ConnectionError | EOFError)):
        sys.__excepthook__(kind, error, traceback)
