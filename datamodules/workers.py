"""Signals in the processes that load data."""

import os
import signal
from threading import Thread


def leave_signals_to_the_main_process(worker: int) -> None:
    """Let a loader's process work on until the main process ends it.

    Ctrl-C in a terminal, and SLURM's signals, reach all processes of a run. What the main process then does may need
    further batches, and one that it did not end itself is an error to it.

    Args:
        worker: Number of the process in its loader, as ``worker_init_fn`` gets it.
    """
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
