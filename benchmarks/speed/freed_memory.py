"""What it costs to give freed memory back to the system: processor time and memory of the program, on the CPU.

``python -m benchmarks.speed.freed_memory --csv benchmarks/results/freed_memory.csv``

Experiments run through the command line, in turn with ``ACDA_KEEP_MEMORY=1`` and ``=0``, each time in a process of its
own with one thread. Processor time is that of the process, in the system included, from one step to a later one; memory
is the largest resident set that it ever had, libraries included.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from lightning.pytorch import Callback, Trainer

from benchmarks import records
from benchmarks.processes import call
from benchmarks.speed.timing import progress

_HEADINGS = {
    "experiment": "experiment",
    "step_ratio": "kept ÷ given back: time of a step",
    "memory_ratio": "memory",
    "kept_step_ms": "kept: ms",
    "given_back_step_ms": "given back: ms",
    "given_back_system_share": "of it in the system",
    "kept_faults": "page faults",
    "given_back_faults": "given back",
    "kept_mib": "MiB",
    "given_back_mib": "given back",
}
_WARM_UP = 3


class Experiment(NamedTuple):
    """What is run.

    Attributes:
        steps: Batches that are measured, after a few that warm up.
        arguments: Of the command line; ``{images}`` is a folder with what :func:`draw_images` draws, ``{data}`` one for
            data that is made.
    """

    steps: int
    arguments: tuple[str, ...]


def _fit(steps: int, config: str, *arguments: str) -> Experiment:
    return Experiment(steps, ("fit", f"--config=configs/{config}.yaml", "--trainer.limit_val_batches=0", *arguments))


def _predict(steps: int, config: str) -> Experiment:
    common = ("--allow_untrained=true", "--data.init_args.predict_dir={images}")
    return Experiment(steps, ("predict", f"--config=configs/{config}.yaml", *common))


_CROWD = ("crowd/synthetic_acda", "--data.init_args.data_dir={data}", "--data.init_args.num_train=150")


EXPERIMENTS = {
    "digits": _fit(100, "digits/lenet_acda"),
    "LeNet + ACDA, 128 images of 32²": _fit(
        10,
        "cifar10/lenet_acda",
        "--model.init_args.num_classes=4",
        "--model.init_args.network.init_args.num_classes=4",
        "--model.init_args.network.init_args.in_channels=1",
        "--data=datamodules.TexturesDataModule",
        "--data.init_args.batch_size=128",
    ),
    "crowd": _fit(10, *_CROWD),
    "crowd, two loaders": _fit(10, *_CROWD, "--data.init_args.num_workers=2"),
    "restoration": _fit(10, "sample_photos/denoising_acda"),
    "crowd, photographs of many sizes": _predict(30, "crowd/synthetic_acda"),
    "restoration, photographs of many sizes": _predict(30, "sample_photos/denoising_acda"),
}


class Meter(Callback):
    """Ends a run after some batches, and writes what they took.

    Args:
        batches: How many are measured, after those that warm up.
        file: Takes the result, as JSON.
        warm_up: How many are left out before.
    """

    def __init__(self, batches: int, file: str, warm_up: int) -> None:
        self._last = warm_up + batches
        self._file = Path(file)
        self._warm_up = warm_up
        self._done = 0
        self._before = (0.0, 0.0, 0)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Count a batch."""
        self._count(trainer)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Count a batch."""
        self._count(trainer)

    def _count(self, trainer: Trainer) -> None:
        self._done += 1
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now = (usage.ru_utime, usage.ru_stime, usage.ru_minflt)
        if self._done == self._warm_up:
            self._before = now
        if self._done == self._last:
            user, system, faults = (after - before for after, before in zip(now, self._before, strict=True))
            batches = self._last - self._warm_up
            found = {
                "step_ms": 1e3 * (user + system) / batches,
                "system_share": system / (user + system),
                "faults": faults / batches,
                "mib": usage.ru_maxrss / 1024,
            }
            self._file.write_text(json.dumps(found), encoding="utf-8")
            trainer.should_stop = True


def draw_images(folder: Path, number: int) -> None:
    """Draw images of many sizes, of 300 to 900 pixels a side.

    Args:
        folder: Where they are written.
        number: How many.
    """
    generator = np.random.default_rng(0)
    for i in range(number):
        height, width = generator.integers(300, 900, size=2)
        cv2.imwrite(str(folder / f"{i:03d}.png"), generator.integers(256, size=(height, width, 3), dtype=np.uint8))


def run(experiment: Experiment, keep: bool, folder: Path) -> records.Row:
    """Run an experiment in a process of its own, with one thread.

    Args:
        experiment: What to run.
        keep: Whether freed memory is kept.
        folder: For what the run writes, and with the images that it may read.

    Returns:
        Processor time of a step in ms, the share of it in the system, page faults of a step, and the memory at its peak
        in MiB.

    Raises:
        SystemExit: If it fails.
    """
    file = folder / "found.json"
    meter = {"class_path": "benchmarks.speed.freed_memory.Meter"}
    meter["init_args"] = {"batches": experiment.steps, "file": str(file), "warm_up": _WARM_UP}  # type: ignore[assignment]
    arguments = [argument.format(images=folder / "images", data=folder / "data") for argument in experiment.arguments]
    common = [
        *("--trainer.accelerator=cpu", f"--trainer.default_root_dir={folder / 'runs'}"),
        *("--trainer.enable_progress_bar=false", "--log_level=error", f"--trainer.callbacks+={json.dumps(meter)}"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACDA_KEEP_MEMORY": str(int(keep))}
    command = ["cli.py", *arguments, *common]
    if call(command, env=environment, stdout=subprocess.DEVNULL):
        sys.exit(" ".join(command))  # which has said what is wrong
    found: records.Row = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return found


def measure(name: str, rounds: int) -> records.Row:
    """Run an experiment with freed memory kept and given back, in turn.

    Args:
        name: Of the experiment.
        rounds: How often each is run.

    Returns:
        Medians, and those of the first divided by those of the second.
    """
    experiment = EXPERIMENTS[name]
    kinds = {"kept": True, "given_back": False}
    found: dict[str, list[records.Row]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as scratch:
        images = Path(scratch, "images")
        images.mkdir()
        draw_images(images, _WARM_UP + experiment.steps)
        for i in range(rounds):
            for kind in list(kinds)[:: -1 if i % 2 else 1]:
                progress(f"{name}: round {i + 1} of {rounds}, {kind.replace('_', ' ')}")
                found[kind].append(run(experiment, kinds[kind], Path(scratch)))
    row: records.Row = {"experiment": name, "steps": experiment.steps}
    for kind, runs in found.items():
        for column in runs[0]:
            row[f"{kind}_{column}"] = statistics.median(float(records.number(each, column) or 0) for each in runs)
    for ratio, column in (("step_ratio", "step_ms"), ("memory_ratio", "mib")):
        row[ratio] = float(row[f"kept_{column}"] or 0) / float(row[f"given_back_{column}"] or 1)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("speed.freed_memory", __doc__)
    parser.add_argument("--experiments", nargs="+", choices=tuple(EXPERIMENTS), default=list(EXPERIMENTS))
    parser.add_argument("--rounds", type=int, default=3, help="times each is run either way (default 3)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    rows: list[records.Row] = []
    for name in options.experiments:
        rows.append({"rounds": options.rounds, **measure(name, options.rounds)})
        if options.csv is not None:
            records.write(options.csv, rows)
    progress("")
    print(records.table(rows, _HEADINGS, digits=3))


if __name__ == "__main__":
    main()
