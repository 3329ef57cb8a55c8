"""Trains and tests candidates through the command line, each with several seeds, and keeps what came out."""

import argparse
import csv
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks import records
from benchmarks.machine import ROOT
from benchmarks.processes import stopped_together
from benchmarks.studies.run_rows import RunRows


class Candidate(NamedTuple):
    """What is trained.

    Attributes:
        config: The experiment's YAML file.
        facts: What tells it from all others, whatever is compared: the first columns of its rows.
        metrics: Names of test metrics.
        arguments: Of the command line, for ``fit`` and ``test``.
    """

    config: str
    facts: records.Row
    metrics: Sequence[str]
    arguments: Sequence[str] = ()


Finish = Callable[[Candidate, Path], records.Row]
"""Further columns, from a candidate and the folder of its finished run."""


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser of the options that every study has.

    Args:
        module: Name of the script within ``benchmarks``.
        description: Its docstring.

    Returns:
        A parser to add the script's own options to.
    """
    made = records.plain_parser(module, description, epilog="What is not known here goes to fit and test.")
    made.add_argument("--seeds", type=int, default=3, help="seeds 0 to SEEDS − 1 for each candidate (default 3)")
    made.add_argument("--jobs", type=int, default=1, help="runs at a time (default 1)")
    made.add_argument(
        "--keep",
        type=Path,
        help="folder for the runs, finished ones are found there again; by default they are deleted",
    )
    made.add_argument("--csv", type=Path, help="also write a row for each run here; rows of other runs are kept")
    made.add_argument("--resume", action="store_true", help="do not repeat a run whose row stands in the file of --csv")
    return made


def run(
    candidates: Sequence[Candidate],
    options: argparse.Namespace,
    further: Sequence[str],
    finish: Finish | None = None,
) -> list[records.Row]:
    """Train and test all candidates, seed by seed; print and write each row as it comes, then means over the seeds.

    Args:
        candidates: What is trained.
        options: From :func:`parser`.
        further: Arguments of the command line for all.
        finish: Adds columns to a row.

    Returns:
        A row for each run: facts, seed, ``further`` as ``options`` if there is any, metrics, what ``finish`` adds, and
        the seconds that ``fit`` took.

    Raises:
        SystemExit: If a command fails; its output is printed. Or if it is interrupted, or cannot be resumed.
    """
    if options.resume and options.csv is None:
        sys.exit("--resume needs --csv, the file whose runs are not repeated")
    every = options.seeds * len(candidates)
    running: set[subprocess.Popen[str]] = set()
    table = RunRows(options.csv)
    rows: list[records.Row] = []
    with stopped_together(), tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(options.jobs) as pool:

        def one(number: int, candidate: Candidate, seed: int, run: records.Row) -> records.Row:
            name = " ".join(map(str, candidate.facts.values()))
            print(f"run {number} of {every}: {name}, seed {seed}", file=sys.stderr)
            folder = (options.keep or Path(scratch)) / _folder_name(run)
            found, seconds = _fit_and_test(candidate, seed, folder, further, running)
            measured: records.Row = {metric: float(found[metric]) for metric in candidate.metrics}
            measured |= finish(candidate, find_newest_run(folder)) if finish is not None else {}
            return measured | {"fit_seconds": seconds}

        waiting: list[tuple[records.Row, Future[records.Row]]] = []
        for number, (seed, candidate) in enumerate(product(range(options.seeds), candidates), 1):
            run: records.Row = {**candidate.facts, "seed": seed}
            if further:
                run["options"] = " ".join(further)
            known = table.find(run, candidate.metrics) if options.resume else None
            if known is None:
                waiting.append((run, pool.submit(one, number, candidate, seed, run)))
            else:
                rows.append(run | known)
        if rows:
            print(f"{len(rows)} of {every} runs stand in {options.csv}", file=sys.stderr)
        try:
            for run, future in waiting:
                measured = future.result()
                rows.append(run | measured)
                print(*rows[-1].values(), flush=True)
                table.put(run, measured)
        except KeyboardInterrupt:
            for process in list(running):
                process.terminate()
            pool.shutdown(cancel_futures=True)
            kept = f"finished runs are in {options.keep}" if options.keep else "--keep FOLDER keeps finished runs"
            print(f"\nstopped, {len(rows)} of {every} runs done; {kept}", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what runs is waited for, what does not is not begun
            raise
    print()
    for candidate in candidates:
        own = [row for row in rows if candidate.facts.items() <= row.items()]
        left_out = (*candidate.facts, "seed", "options", "fit_seconds")
        columns = [column for column in dict.fromkeys(key for row in own for key in row) if column not in left_out]
        print(*candidate.facts.values(), *(f"{column} {_spread(own, column)}" for column in columns), sep="  ")
    return rows


def find_newest_run(folder: Path) -> Path:
    """Find the newest run folder in an experiment's folder."""
    return max(folder.glob("version_*"), key=lambda path: path.stat().st_mtime)


def resume(folder: Path) -> list[str]:
    """List the arguments by which ``fit`` goes on where an experiment's newest run was interrupted; none if it was not.

    Args:
        folder: The experiment's folder.
    """
    return ["--ckpt_path=last"] if any(folder.glob("version_*/checkpoints/last*.ckpt")) else []


@contextmanager
def add_seconds(file: Path) -> Iterator[None]:
    """Add the seconds of what is done within to those that stand in a file, so that interruptions do not count.

    Args:
        file: Its folder is made.
    """
    started = time.perf_counter()
    try:
        yield
    finally:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{read_seconds(file) + time.perf_counter() - started:.1f}\n")


def read_seconds(file: Path) -> float:
    """Read what :func:`add_seconds` wrote; 0 where there is no file."""
    return float(file.read_text()) if file.is_file() else 0.0


def _folder_name(run: records.Row) -> str:
    """Name the folder of a run after all that tells it from others, so that no other is taken for it."""
    parts = [f"{zlib.crc32(str(value).encode()):08x}" if key == "options" else str(value) for key, value in run.items()]
    return re.sub(r"[^\w.-]+", "-", "_".join(parts))


def _fit_and_test(
    candidate: Candidate, seed: int, folder: Path, further: Sequence[str], running: set[subprocess.Popen[str]]
) -> tuple[dict[str, str], float]:
    """Fit, then test the best checkpoint: metrics by name, and the seconds of ``fit``, the process's start included.

    A run that was tested before is not repeated, one that was interrupted goes on from its last checkpoint. While a
    process runs it is in ``running``.
    """
    noted, spent = folder / "fit_seconds.txt", folder / "spent.txt"
    if noted.is_file():
        return _metrics(folder), float(noted.read_text())
    common = [f"--config={candidate.config}", f"--trainer.default_root_dir={folder}", f"--seed_everything={seed}"]
    common += [*candidate.arguments, *further]
    with add_seconds(spent):
        _run_command(["fit", *common, *resume(folder)], running)
    _run_command(["test", *common, "--ckpt_path=best"], running)
    shutil.copy(spent, noted)  # last: it says that the run is finished
    return _metrics(folder), read_seconds(spent)


def _run_command(arguments: Sequence[str], running: set[subprocess.Popen[str]]) -> None:
    command, pipe = [sys.executable, "cli.py", *arguments], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        running.add(process)
        output = process.communicate()
        running.remove(process)
    if process.returncode:
        sys.exit("\n".join([" ".join(arguments), *output]))


def _metrics(folder: Path) -> dict[str, str]:
    with (find_newest_run(folder) / "test" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]


def _spread(rows: Sequence[records.Row], column: str) -> str:
    values = [float(value) for row in rows if (value := row.get(column)) is not None]
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.5g}{deviation}"
