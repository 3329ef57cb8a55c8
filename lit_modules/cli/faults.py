"""Faults of the machine that a user can correct, in a few words instead of a traceback."""

import errno
import re
import signal
import threading
from collections.abc import Iterator
from traceback import walk_tb

import torch

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EROFS, errno.EEXIST, errno.ENAMETOOLONG)
_NOT_ACCESSIBLE = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EIO)
_ELSEWHERE = "write elsewhere: --trainer.default_root_dir=FOLDER, in export --output=FILE"
_WORKER = re.compile(r"DataLoader worker \(pid.*?\) (?:is killed by signal: ([^.]+)|exited unexpectedly)")
_SHARED_MEMORY = re.compile(r"unable to .*(?:shared memory|</torch_).*")
_FEWER_WORKERS = "--data.init_args.num_workers=0"


def explain(error: BaseException) -> str | None:
    """Say what happened and what to do, for a fault that is none of the program.

    These are: a disk that is full, files and folders that cannot be written or reached, a loader's worker that was
    killed or has no shared memory left, a GPU without free memory. Such an error may be wrapped in others.

    Args:
        error: What was raised.

    Returns:
        A text to be shown instead of a traceback, or None for everything else.
    """
    return next((text for cause in _walk_chain(error) if (text := _explain(cause))), None)


def leave_workers_alone() -> None:
    """Take no more notice of loaders' processes that die, once the program ends.

    PyTorch raises an error in whatever is run when the signal for it arrives: after the first error, which was told,
    another one would be a traceback from the end of the program.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def quiet_tensorboard(raised: threading.ExceptHookArgs) -> None:
    """Print what ended a thread, unless it is TensorBoard's: what ends that is raised again at the next metric.

    Args:
        raised: As ``threading.excepthook`` gets it.
    """
    if not type(raised.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(raised)


def _walk_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it was raised from, the last one first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _explain(error: BaseException) -> str | None:
    if isinstance(error, ConnectionError | EOFError) and _raised_below(error, "torch.multiprocessing.reductions"):
        return _explain_worker("it went away while it handed over a batch")
    if isinstance(error, OSError):
        return _explain_file(error)
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"the GPU has too little memory: {str(error).partition(' GPU ')[0]} Take smaller batches or smaller images "
            "or patches (--data.init_args…), tiles in restoration (--model.init_args.tile=512), or "
            "--trainer.precision=bf16-mixed."
        )
    if not isinstance(error, RuntimeError):
        return None
    if match := _WORKER.search(str(error)):
        return _explain_worker(match[1] or "it is not known how")
    if match := _SHARED_MEMORY.search(str(error)):
        return (
            f"the processes that load data have too little shared memory ({match[0]}). Make /dev/shm larger, or load "
            f"with fewer such processes, {_FEWER_WORKERS} for none. What was trained goes on with --ckpt_path last."
        )
    return None


def _explain_worker(how: str) -> str:
    return (
        f"a process that loads data was killed ({how}). The usual causes are too little memory, for which fewer such "
        f"processes help ({_FEWER_WORKERS} for none) and smaller batches, and too little shared memory, for which the "
        "same helps, or a larger /dev/shm. What was trained goes on with --ckpt_path last."
    )


def _raised_below(error: BaseException, module: str) -> bool:
    return any(frame.f_globals.get("__name__") == module for frame, _ in walk_tb(error.__traceback__))


def _explain_file(error: OSError) -> str | None:
    file = f"'{error.filename}'" if error.filename is not None else "a file"
    if error.errno in _NO_SPACE:
        return f"{file} cannot be written: {error.strerror}. Make room, or {_ELSEWHERE}."
    if error.errno in _NOT_WRITABLE:
        return f"{file} cannot be written: {error.strerror}. Move it away, or {_ELSEWHERE}."
    if error.errno in _NOT_ACCESSIBLE and error.filename is not None:
        return f"{file} cannot be read or written: {error.strerror}. Correct that, or {_ELSEWHERE}."
    return None
