"""Times of candidates that run in turn, and the memory that one needs at its peak."""

import ctypes
import gc
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from acda.layers.memory import available_bytes
from benchmarks import records

Run = Callable[[], object]
# Makes, from arguments that can be pickled, what to measure and a tiny version of it that warms everything up.
Prepare = Callable[..., tuple[Run, Run]]
OUT_OF_MEMORY = "refused: ran out of memory"
_FLUSH_BYTES = 2**28  # beyond the L2 cache of any GPU, as triton.testing.do_bench has it
_PROC = Path("/proc/self")


@contextmanager
def equal_terms() -> Iterator[None]:
    """Let cuDNN choose its fastest convolution, in the precision that the dtype promises (no TF32)."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        yield


def progress(text: str, often: bool = False) -> None:
    """Show on stderr what is going on.

    Args:
        text: Takes the place of the last on a terminal, else stands on a line of its own; empty to clear.
        often: Leave it out where it would not take the place of the last.
    """
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text and not often:
        print(text, file=sys.stderr, flush=True)


@cache
def say_once(text: str) -> None:
    """Print a line to stderr, unless it was printed before."""
    progress("")
    print(text, file=sys.stderr, flush=True)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that memory did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _runs(name: str, run: Run) -> bool:
    """Run once; False where memory does not suffice."""
    progress(f"warm-up: {name}")
    try:
        run()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        say_once(f"{name} ran out of memory")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return False
    return True


def _seconds_cpu(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _timer_cuda(device: torch.device) -> Callable[[Run], float]:
    flush = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device=device)
    started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def seconds(run: Run) -> float:
        flush.zero_()
        started.record()
        run()
        ended.record()
        torch.cuda.synchronize(device)
        return float(started.elapsed_time(ended)) / 1e3

    return seconds


def time_in_turn(candidates: Mapping[str, Run], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Time candidates in turn, so that what disturbs the machine disturbs all of them alike.

    Each is run once beforehand. The order rotates from round to round. On a GPU the L2 cache is flushed before each
    run, and CUDA's events tell the time.

    Args:
        candidates: Name → what to time.
        rounds: How often each is timed.
        device: Where they run.

    Returns:
        Seconds by name, without the candidates that ran out of memory.
    """
    names = [name for name, run in candidates.items() if _runs(name, run)]
    timer = _timer_cuda(device) if device.type == "cuda" else _seconds_cpu
    seconds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i in range(rounds):
            first = i % max(1, len(names))
            for name in names[first:] + names[:first]:
                progress(f"round {i + 1} of {rounds}: {name}", often=True)
                seconds[name].append(timer(candidates[name]))
    finally:
        progress("")
        if collecting:
            gc.enable()
    return seconds


def summary(kind: str, seconds: Sequence[float]) -> records.Row:
    """Compute median and interquartile range, in milliseconds.

    Args:
        kind: What was timed; begins the names of the two columns.
        seconds: From :func:`time_in_turn`.
    """
    low, high = (seconds[0],) * 2 if len(seconds) < 2 else statistics.quantiles(seconds, method="inclusive")[::2]
    return {f"{kind}_ms": 1e3 * statistics.median(seconds), f"{kind}_iqr_ms": 1e3 * (high - low)}


def time_kinds(runs: Mapping[str, Mapping[str, Run]], rounds: int, device: torch.device) -> dict[str, records.Row]:
    """Time several kinds of run of the same candidates.

    Args:
        runs: Kind → name → what to time.
        rounds: As in :func:`time_in_turn`.
        device: As there.

    Returns:
        Name → :func:`summary` of each kind, and as status ``"ok"`` or that memory did not suffice.
    """
    rows: dict[str, records.Row] = {name: {"status": "ok"} for candidates in runs.values() for name in candidates}
    for kind, candidates in runs.items():
        seconds = time_in_turn(candidates, rounds, device)
        for name in candidates:
            rows[name] |= summary(kind, seconds[name]) if name in seconds else {"status": OUT_OF_MEMORY}
    return rows


def refusal(needed: int, device: torch.device) -> str | None:
    """Say why not to run what needs so many bytes, or None if they are there."""
    available = available_bytes(device)
    if available is None or needed <= available:
        return None
    return f"refused: needs {needed / 2**30:.3g} GiB, {available / 2**30:.3g} GiB available"


def _resident(field: str) -> int:
    """Read the bytes of ``VmRSS`` or of its peak ``VmHWM`` of this process."""
    lines = (_PROC / "status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _return_free_heap() -> None:
    """Give freed memory back to the system, so that reusing it counts; only glibc can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _send_peak(prepare: Prepare, arguments: Sequence[Any], threads: int, connection: Connection) -> None:
    torch.set_num_threads(threads)
    run, warm_up = prepare(*arguments)
    warm_up()
    gc.collect()
    _return_free_heap()
    (_PROC / "clear_refs").write_text("5", encoding="ascii")  # sets VmHWM to VmRSS
    before = _resident("VmRSS")
    run()
    connection.send(_resident("VmHWM") - before)


def _peak_cpu(prepare: Prepare, arguments: Sequence[Any]) -> int | None:
    if not (_PROC / "clear_refs").exists():
        say_once("Peak memory is not measured: this system has no /proc/self/clear_refs")
        return None
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peak, args=(prepare, arguments, torch.get_num_threads(), sender))
    process.start()
    sender.close()
    try:
        peak: int | None = receiver.recv()
    except EOFError:
        peak = None
    process.join()
    if peak is None:
        say_once(f"Peak memory is not measured: the process that should ended with code {process.exitcode}")
    return peak


def _peak_cuda(prepare: Prepare, arguments: Sequence[Any], device: torch.device) -> int:
    run, warm_up = prepare(*arguments)
    warm_up()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_extra_mib(prepare: Prepare, arguments: Sequence[Any], device: torch.device) -> float | None:
    """Measure the memory at the peak of a run beyond what was there before it: what it makes, keeps and gives back.

    On a CPU it is the resident set of a fresh process whose inputs exist and which is warm; on a GPU, PyTorch's
    allocations.

    Args:
        prepare: Function of a module, see ``Prepare``.
        arguments: For it.
        device: Where it runs.

    Returns:
        MiB, or None where they cannot be measured; the reason is printed once.
    """
    progress(f"peak memory: {' '.join(map(str, arguments))}")
    peak = _peak_cuda(prepare, arguments, device) if device.type == "cuda" else _peak_cpu(prepare, arguments)
    progress("")
    return None if peak is None else peak / 2**20
