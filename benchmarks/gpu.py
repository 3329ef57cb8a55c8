"""Everything that a GPU is to show, in one command: tests, operator, layer, networks, a training, and where time goes.

``python -m benchmarks.gpu``, with ``--arrays FILE`` for the training, whose file ``python -m benchmarks.studies.cifar
--pack FILE`` makes of CIFAR-10. Where a GPU is lent for some minutes at a time, ``--minutes 9`` ends before they are
over; the same command goes on with what is left.

Each part is a process of its own with a time limit; those of worth come first. One that fails does not keep the others
from running, and makes the command fail at its end. Rows of CSV files are written as they come, and what is done is
noted, so that nothing is lost or repeated when the whole is stopped, even by force. All limits together are 25 minutes.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import records
from benchmarks.machine import ROOT, machine
from benchmarks.processes import call


class Part(NamedTuple):
    """A command, by what comes after ``python -m``.

    Attributes:
        arguments: Module and its arguments.
        seconds: Time limit.
    """

    arguments: tuple[str, ...]
    seconds: int


_TRAINING = ("--dtype", "bfloat16", "--batch", "256", "--size", "224")
_TRAINING_RUNS = "gpu_training"
_STUDY = ("--seeds", "1", "--epochs", "15", "--trainer.accelerator=gpu", "--trainer.precision=bf16-mixed")


def parts(folder: Path, arrays: Path | None = None) -> dict[str, Part]:
    """List what is run, in this order, by name.

    Args:
        folder: Where CSV files go.
        arrays: File of images to train on; None leaves that out.
    """

    def tests(seconds: int, which: str, *files: str) -> Part:
        return Part(("pytest", "-q", "-m", which, *(f"tests/acda/ops/test_gpu_{name}.py" for name in files)), seconds)

    def measured(name: str, seconds: int, *arguments: str, csv: str = "") -> Part:
        path = str(folder / f"gpu_{csv or name}.csv")
        return Part((f"benchmarks.speed.{name}", "--device", "cuda", *arguments, "--csv", path), seconds)

    def operator(seconds: int, side: int) -> Part:
        return measured("operator", seconds, "--shapes", f"32x256x100x100x{side}", csv=f"operator_{side}")

    files = ("--arrays", str(arrays), "--keep", str(folder / _TRAINING_RUNS), "--csv", str(folder / "gpu_training.csv"))
    training = Part(("benchmarks.studies.cifar", *files, *_STUDY), 300)
    # Tests compile some 160 kernels, at one to two seconds each; what is measured, six for each shape.
    listed = {
        "tests": tests(360, "not slow", "backend", "requirements"),
        "operator_7": operator(120, 7),
        "layer": measured("layer", 90),
        "network": measured("network", 150, "--network", "ad_resnet_s", *_TRAINING),
        "training": training,
        "operator_5": operator(90, 5),
        "operator_3": operator(90, 3),
        "profile_step": measured("profile_step", 60, *_TRAINING, "--rounds", "5"),
        "slow_tests": tests(240, "slow", "backend", "compile"),
    }
    if arrays is None:
        del listed["training"]
    return listed


class Progress:
    """Which parts are done, in a file; those of another commit or GPU are not taken for it.

    Args:
        path: The file.
        again: Forget what it holds.
    """

    def __init__(self, path: Path, again: bool) -> None:
        self._path = path
        here = machine()
        self._state = {"commit": here["commit"], "gpu": here["gpu"], "begun": [], "done": {}}
        if path.exists() and not again:
            found = json.loads(path.read_text(encoding="utf-8"))
            if all(found[key] == self._state[key] for key in ("commit", "gpu")):
                self._state = found

    @property
    def done(self) -> dict[str, str]:
        """Outcomes of parts by name."""
        return self._state["done"]  # type: ignore[return-value]

    def begin(self, name: str) -> bool:
        """Note that a part is begun; False if it was before, and so can go on with what it left."""
        begun = self._state["begun"]
        assert isinstance(begun, list)
        if name in begun:
            return False
        begun.append(name)
        self._write()
        return True

    def note(self, name: str, outcome: str) -> None:
        """Note that a part is done."""
        self.done[name] = outcome
        self._write()

    def _write(self) -> None:
        temporary = self._path.with_name(f".{self._path.name}")
        temporary.write_text(json.dumps(self._state, indent=1), encoding="utf-8")
        temporary.replace(self._path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are left, then say what became of each.

    Args:
        arguments: Command line, by default the process's.

    Raises:
        SystemExit: If there is no GPU, or a part failed.
    """
    parser = records.plain_parser("gpu", __doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "results", help="for the CSV files")
    parser.add_argument("--arrays", type=Path, help="file of CIFAR-10's images to train on; default: no training")
    parser.add_argument("--only", nargs="+", choices=tuple(parts(Path(), Path())), help="parts to run; default: all")
    parser.add_argument("--minutes", type=float, help="begin no part whose limit is beyond; default: run all")
    parser.add_argument("--again", action="store_true", help="also run what is done")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("there is no GPU that PyTorch can use")
    if options.arrays is not None and not options.arrays.is_file():
        sys.exit(f"--arrays must be a file, got {options.arrays}: python -m benchmarks.studies.cifar --pack makes one")
    if options.arrays is None and "training" in (options.only or ()):
        sys.exit("--only training needs --arrays")
    print(torch.cuda.get_device_name(), flush=True)
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress(folder / "gpu_progress.json", options.again)
    listed = parts(folder, options.arrays and options.arrays.absolute())
    wanted = {name: part for name, part in listed.items() if name in (options.only or (name,))}
    started = time.perf_counter()
    outcomes: dict[str, str] = {}
    for name, part in wanted.items():
        if name in progress.done:
            outcomes[name] = f"{progress.done[name]}, before"
            continue
        if options.minutes is not None and time.perf_counter() - started + part.seconds > 60 * options.minutes:
            break
        if progress.begin(name) and name == "training":
            shutil.rmtree(folder / _TRAINING_RUNS, ignore_errors=True)  # of another commit or GPU
        outcomes[name] = _run(part)
        if outcomes[name].startswith("done"):
            progress.note(name, outcomes[name])
    outcomes |= {name: "left: the same command runs it" for name in wanted if name not in outcomes}
    print("\n".join(f"{name:12}  {outcome}" for name, outcome in outcomes.items()))
    if any(not outcome.startswith(("done", "left")) for outcome in outcomes.values()):
        sys.exit(1)


def _run(part: Part) -> str:
    print("$ python -m", *part.arguments, flush=True)
    started = time.perf_counter()
    try:
        code = call(["-m", *part.arguments], part.seconds)
    except subprocess.TimeoutExpired:
        return f"stopped after {part.seconds} s"
    return f"{'done' if code == 0 else f'failed with exit code {code}'} in {time.perf_counter() - started:.0f} s"


if __name__ == "__main__":
    main()
