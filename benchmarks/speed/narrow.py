"""Layers of few channels, and a step of LeNet with them, against plain convolutions and against another checkout.

``python -m benchmarks.speed.narrow --against PATH_OF_ANOTHER_CHECKOUT``

All is processor time of one thread on the CPU, in float32, and everything runs in turn: what else the machine does
disturbs all alike. Each checkout's layers run in a process of their own; settings of the memory allocator, such as
``MALLOC_TRIM_THRESHOLD_``, are those of the environment.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import records
from benchmarks.speed import timing

CASES = ("1x256x256x50x7", "4x64x64x56x7", "4x64x64x64x3", "128x3x32x32x5", "128x16x32x16x5", "128x32x64x16x5", "lenet")
_WORKER = Path(__file__).with_name("narrow_worker.py")
_HERE = Path(__file__).parents[2]
_HEADINGS = {
    "case": "case (NxCxOxHxl)",
    "kind": "kind",
    "conv2d_ms": "conv2d ms",
    "acda_ms": "acda ms",
    "against_ms": "other acda ms",
    "ratio": "acda ÷ conv2d",
    "against_ratio": "other ÷ conv2d",
}


class _Worker:
    """A process that times what it is asked for."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def seconds(self, case: str, kind: str, convolution: str) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(case, kind, convolution, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process that times {case} {kind} {convolution} has ended")
        return float(answer)


@contextmanager
def _worker(checkout: Path) -> Iterator[_Worker]:
    # Not by its path: modules that lie beside it have names of Python's own.
    start = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    command = [sys.executable, "-c", start, str(_WORKER)]
    with subprocess.Popen(command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield _Worker(process)


def measure(case: str, kind: str, workers: Sequence[_Worker], rounds: int) -> records.Row:
    """Time one case: the plain convolution, the layer, and the layer of each other checkout, in turn."""
    candidates = {"conv2d": (workers[0], "conv2d"), "acda": (workers[0], "acda")}
    if len(workers) > 1:
        candidates["against"] = (workers[1], "acda")
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for i in range(rounds):
        timing.progress(f"{case} {kind}: round {i + 1} of {rounds}", often=True)
        for name, (worker, convolution) in candidates.items():
            seconds[name].append(worker.seconds(case, kind, convolution))
    timing.progress("")
    row: records.Row = {"case": case, "kind": kind, "rounds": rounds}
    row |= {f"{name}_ms": 1e3 * statistics.median(times) for name, times in seconds.items()}
    row["ratio"] = records.ratio({"ms": row["acda_ms"]}, {"ms": row["conv2d_ms"]}, "ms")
    if "against" in seconds:
        row["against_ratio"] = records.ratio({"ms": row["against_ms"]}, {"ms": row["conv2d_ms"]}, "ms")
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("speed.narrow", __doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, help=f"default: {' '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=11, help="times each candidate runs (default 11)")
    parser.add_argument("--against", type=Path, help="another checkout of this project, timed beside this one")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    if options.against is not None and not (options.against / "acda").is_dir():
        parser.error(f"argument --against: must be a checkout with the package acda, got {options.against}")
    with ExitStack() as stack:
        checkouts = [_HERE] if options.against is None else [_HERE, options.against]
        workers = [stack.enter_context(_worker(checkout)) for checkout in checkouts]
        rows = []
        for case in options.cases:
            for kind in ("step",) if case == "lenet" else ("forward", "step"):
                rows.append(measure(case, kind, workers, options.rounds))
                print(records.table(rows[-1:], _HEADINGS, digits=3).splitlines()[-1], file=sys.stderr, flush=True)
    print(records.table(rows, _HEADINGS, digits=3))
    if options.csv is not None:
        records.write(options.csv, rows)


if __name__ == "__main__":
    main()
