"""Makes the pictures of README and docs, from networks trained on the spot or weights/: nothing is downloaded or kept.

``python -m benchmarks.pictures``
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import records
from benchmarks.machine import ROOT
from benchmarks.pictures.canvas import Canvas
from benchmarks.pictures.cells import cells
from benchmarks.pictures.crowd import crowd
from benchmarks.pictures.method import method
from benchmarks.pictures.photographs import restoration, scales
from benchmarks.pictures.toy import toy

PICTURES: dict[str, Callable[[], Canvas]] = {
    "method": method,
    "toy": toy,
    "scales": scales,
    "restoration": restoration,
    "crowd": crowd,
    "cells": cells,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("pictures", __doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(PICTURES), default=tuple(PICTURES), help="default: all")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="folder for the pictures (default docs)")
    options = parser.parse_args(arguments)
    for name in options.only:
        started = time.perf_counter()
        path = options.output / f"{name}.png"
        PICTURES[name]().save(path)
        print(f"{path}: {path.stat().st_size // 1000} kB, {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
