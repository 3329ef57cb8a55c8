"""Everything that a GPU is to show, in one command: its tests, operator, layer, networks, and where their time goes.

``python -m benchmarks.gpu``

Each part is a process of its own with a time limit; one that fails does not keep the others from running, and makes the
command fail at its end. CSV files appear as the parts end, so that nothing is lost when the whole is stopped.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.machine import ROOT


class Part(NamedTuple):
    """A command, by what comes after ``python -m``.

    Attributes:
        arguments: Module and its arguments.
        seconds: Time limit.
    """

    arguments: tuple[str, ...]
    seconds: int


_TRAINING = ("--dtype", "bfloat16", "--batch", "256", "--size", "224")


def parts(folder: Path) -> dict[str, Part]:
    """List what is run, in this order, by name.

    Args:
        folder: Where CSV files go.
    """

    def measured(name: str, seconds: int, *arguments: str) -> Part:
        csv = str(folder / f"gpu_{name}.csv")
        return Part((f"benchmarks.speed.{name}", "--device", "cuda", *arguments, "--csv", csv), seconds)

    return {
        "tests": Part(
            ("pytest", "-q", "-m", "", "tests/acda/ops/test_gpu_backend.py", "tests/acda/ops/test_gpu_compile.py"), 150
        ),  # -m "": slow ones too
        "operator": measured("operator", 150),
        "layer": measured("layer", 60),
        "network": measured("network", 90, "--network", "ad_resnet_s", *_TRAINING),
        "profile_step": measured("profile_step", 60, *_TRAINING, "--rounds", "5"),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts, then say what became of each.

    Args:
        arguments: Command line, by default the process's.

    Raises:
        SystemExit: If there is no GPU, or a part failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "results", help="for the CSV files")
    parser.add_argument("--only", nargs="+", choices=tuple(parts(Path())), help="parts to run; default: all")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("there is no GPU that PyTorch can use")
    print(torch.cuda.get_device_name(), flush=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    outcomes = {name: _run(part) for name, part in parts(options.folder).items() if name in (options.only or (name,))}
    print("\n".join(f"{name:12}  {outcome}" for name, outcome in outcomes.items()))
    if any(not outcome.startswith("done") for outcome in outcomes.values()):
        sys.exit(1)


def _run(part: Part) -> str:
    print("$ python -m", *part.arguments, flush=True)
    started = time.perf_counter()
    try:
        code = subprocess.run([sys.executable, "-m", *part.arguments], cwd=ROOT, timeout=part.seconds).returncode
    except subprocess.TimeoutExpired:
        return f"stopped after {part.seconds} s"
    return f"{'done' if code == 0 else f'failed with exit code {code}'} in {time.perf_counter() - started:.0f} s"


if __name__ == "__main__":
    main()
