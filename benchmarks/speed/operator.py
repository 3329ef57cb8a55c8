"""The operator against its rival forms and against the plain convolution of the same size.

``python -m benchmarks.speed.operator --csv benchmarks/results/operator.csv``
``python -m benchmarks.speed.operator --scaling --rounds 5`` shows time and memory per pixel as the image grows.

A shape is ``NxCxHxWxl``: images, channels in and out, height, width, side of the filter. Every candidate is checked
against the float64 truth before it is timed, output and gradients. Each gets its input in the layout that suits it.
"""

import argparse
import traceback
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from acda import adaptive_conv2d
from acda.ops.functional import _BACKENDS
from benchmarks import records
from benchmarks.speed import timing
from benchmarks.speed.forms import (
    NUM_BASES,
    Form,
    Problem,
    Shape,
    basis_first,
    dense,
    published,
    random_problem,
    truth,
    verdict,
)

KINDS = ("forward", "step")
DENSE = ("conv2d NHWC", "conv2d NCHW")
# By default; the others are too slow on a GPU for a run of minutes.
MEASURED = {"cpu": ("*",), "cuda": ("published", "conv2d *", "acda triton")}
SCALING_SIZES = (128, 256, 512, 1024)
DEFAULT_SHAPES = {
    "cpu": ("1x256x50x50x7", "4x64x56x56x7", "1x128x96x128x5", "4x64x64x64x3"),
    "cuda": ("32x256x100x100x7", "32x256x100x100x5", "32x256x100x100x3"),
}

_HEADINGS = {
    "shape": "shape",
    "candidate": "candidate",
    "faster_forward": "× faster than published: forward",
    "faster_step": "step",
    "conv2d_forward": "time ÷ conv2d: forward",
    "conv2d_step": "step",
    "forward_ms": "forward ms",
    "step_ms": "step ms",
    "step_mib": "peak extra MiB (step)",
    "status": "status",
}
_SCALING_HEADINGS = {
    "shape": "shape",
    "candidate": "candidate",
    "forward_ns_per_pixel": "forward ns/pixel",
    "step_ns_per_pixel": "step ns/pixel",
    "forward_bytes_per_pixel": "forward peak extra bytes/pixel",
    "step_bytes_per_pixel": "step peak extra bytes/pixel",
    "status": "status",
}


def _cpu_targets(faster_forward: float, faster_step: float, forward: float, step: float) -> dict[str, float]:
    ratios = {"faster_forward": faster_forward, "faster_step": faster_step}
    return {**ratios, "conv2d_forward": forward, "conv2d_step": step, "step_memory": 0.1}


# Column → bound: at least for "faster_…", at most for the others.
TARGETS: dict[tuple[str, str, str], dict[str, float]] = {
    ("cpu", "float32", "1x256x50x50x7"): _cpu_targets(10, 8, 0.3, 0.4),
    ("cpu", "float32", "4x64x56x56x7"): _cpu_targets(12, 6, 0.6, 0.9),
    ("cpu", "float32", "1x128x96x128x5"): _cpu_targets(8, 6, 0.5, 0.65),
    ("cpu", "float32", "4x64x64x64x3"): _cpu_targets(4, 3, 1.6, 1.8),
    ("cuda", "bfloat16", "32x256x100x100x7"): {"forward_ms": 2.0, "conv2d_forward": 0.6, "conv2d_step": 0.7},
    ("cuda", "bfloat16", "32x256x100x100x5"): {"conv2d_forward": 1.0, "conv2d_step": 1.2},
    ("cuda", "bfloat16", "32x256x100x100x3"): {"conv2d_forward": 2.0, "conv2d_step": 2.0},
}


class Candidate(NamedTuple):
    """What is measured.

    Attributes:
        form: The computation.
        dense: Whether it is the plain convolution.
        channels_last: Layout of its input.
        ours: Whether it is a backend of this package.
        copies: Copies of the input that a training step holds at its peak, given the side of the filter.
    """

    form: Form
    dense: bool = False
    channels_last: bool = True
    ours: bool = False
    copies: Callable[[int], int] = lambda side: 0

    @property
    def operands(self) -> tuple[bool, bool]:
        """Candidates that have this in common can share a problem."""
        return self.dense, self.channels_last

    def problem(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> Problem:
        """Draw the problem of a shape as it suits the candidate."""
        return random_problem(shape, dtype, device, dense=self.dense, channels_last=self.channels_last)


def _with_backend(
    backend: str,
    x: Tensor,
    coefficients: Tensor,
    bases: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int,
) -> Tensor:
    return adaptive_conv2d(x, coefficients, bases, weight, bias, 1, padding, backend=backend)


def candidates(dtype: torch.dtype, device: torch.device) -> dict[str, Candidate]:
    """List rivals, the plain convolution in both layouts, and the backends that can run, fastest first.

    Args:
        dtype: Of the operands.
        device: Where they lie.

    Returns:
        Name → candidate.
    """
    found = {
        # Up to 2.7 l² and 5.1 K were measured.
        "published": Candidate(published, channels_last=False, copies=lambda side: 3 * side**2),
        "basis_first": Candidate(basis_first, copies=lambda side: 5 * NUM_BASES * (side // 2)),
        **{name: Candidate(dense, dense=True, channels_last=name.endswith("NHWC")) for name in DENSE},
    }
    for name, reason in reasons(dtype, device).items():
        if reason is None:
            found[f"acda {name}"] = Candidate(partial(_with_backend, name), ours=True)
    return found


def reasons(dtype: torch.dtype, device: torch.device) -> dict[str, str | None]:
    """Say why a backend cannot run, None where it can, by its name; fastest first."""
    probe = torch.empty(1, 8, 8, 8, dtype=dtype, device=device)
    return {name: backend.cannot_run(probe) for name, backend in _BACKENDS.items()}


def prepare(name: str, shape: Shape, dtype: torch.dtype, device: str, kind: str) -> tuple[timing.Run, timing.Run]:
    """Set up a candidate's forward or step, and the same for a few pixels; for :func:`timing.peak_extra_mib`."""
    place = torch.device(device)
    candidate = candidates(dtype, place)[name]
    tiny = shape._replace(images=1, height=shape.kernel_size, width=shape.kernel_size)
    run, warm_up = (partial(getattr(candidate.problem(s, dtype, place), kind), candidate.form) for s in (shape, tiny))
    return run, warm_up


def check(found: Mapping[str, Candidate], shape: Shape, dtype: torch.dtype, device: torch.device) -> dict[str, str]:
    """Compare output and gradients of candidates with the truth.

    Returns:
        Name → ``"ok"``, ``"wrong: …"`` with the largest error ratio and where it is, or ``"failed: …"`` with the
        exception.
    """
    truths: dict[bool, dict[str, Tensor]] = {}
    verdicts = {}
    for name, candidate in found.items():
        timing.progress(f"check at {shape}: {name}")
        problem = candidate.problem(shape, dtype, device)
        if candidate.dense not in truths:
            truths[candidate.dense] = truth(dense if candidate.dense else published, problem)
        try:
            verdicts[name] = verdict(problem.step(candidate.form), truths[candidate.dense], dtype)
        except Exception as exception:
            traceback.print_exc()
            verdicts[name] = timing.OUT_OF_MEMORY if timing.out_of_memory(exception) else f"failed: {exception!r}"
    timing.progress("")
    return verdicts


def _times(found: Mapping[str, Candidate], shape: Shape, options: argparse.Namespace) -> dict[str, records.Row]:
    apart = {candidate.operands: candidate for candidate in found.values()}
    problems = {key: candidate.problem(shape, options.dtype, options.device) for key, candidate in apart.items()}
    runs = {
        kind: {name: partial(getattr(problems[c.operands], kind), c.form) for name, c in found.items()}
        for kind in KINDS
    }
    return timing.time_kinds(runs, options.rounds, options.device)


def measure(
    shape: Shape, found: Mapping[str, Candidate], options: argparse.Namespace, memory_of: Sequence[str] = ("step",)
) -> list[records.Row]:
    """Check, then time the candidates at one shape.

    Args:
        shape: The problem's size.
        found: Candidates by name.
        options: The command line.
        memory_of: Of which kinds of run to measure the memory.

    Returns:
        A row for each candidate; one that is wrong or refused has no times.
    """
    dtype, device = options.dtype, options.device
    size = shape.pixels * shape.channels * dtype.itemsize
    refused = {name: timing.refusal(c.copies(shape.kernel_size) * size, device) for name, c in found.items()}
    status = {name: reason for name, reason in refused.items() if reason is not None}
    possible = {name: candidate for name, candidate in found.items() if name not in status}
    status |= check(possible, shape.to_check(device), dtype, device)
    right = {name: candidate for name, candidate in possible.items() if status[name] == "ok"}
    times = _times(right, shape, options)
    rows = []
    for name in found:
        row = {**records.setting(options), "shape": str(shape), "candidate": name, "status": status[name]}
        row |= times.get(name, {})
        for kind in memory_of if options.memory and row["status"] == "ok" else ():
            row[f"{kind}_mib"] = timing.peak_extra_mib(prepare, (name, shape, dtype, device.type, kind), device)
        rows.append(row)
    return rows


def compare(rows: Sequence[records.Row]) -> dict[str, str]:
    """Add ratios to a shape's rows: to the published form, and to the faster of the plain convolution's layouts.

    Returns:
        Kind of run → the layout that was faster, where one was measured.
    """
    rivals = {str(row["candidate"]): row for row in rows}
    slow = rivals.get("published", {})
    faster = {}
    for kind in KINDS:
        column = f"{kind}_ms"
        times = {name: records.number(rivals.get(name, {}), column) for name in DENSE}
        measured = {name: milliseconds for name, milliseconds in times.items() if milliseconds is not None}
        if measured:
            faster[kind] = min(measured, key=lambda name: measured[name])
        for row in rows:
            row[f"faster_{kind}"] = records.ratio(slow, row, column)
            row[f"conv2d_{kind}"] = records.ratio(row, rivals.get(faster.get(kind, ""), {}), column)
    for row in rows:
        row["step_memory"] = records.ratio(row, slow, "step_mib")
    return faster


def targets(row: records.Row) -> str:
    """List which of its shape's targets a row meets; empty where there are none."""
    bounds = TARGETS.get((str(row["device"]), str(row["dtype"]), str(row["shape"])), {})
    marks = []
    for column, bound in bounds.items():
        value, sign = records.number(row, column), "≥" if column.startswith("faster_") else "≤"
        if value is None:
            marks.append(f"{column} {sign} {bound:g} not measured")
        else:
            met = value >= bound if sign == "≥" else value <= bound
            marks.append(f"{column} {value:.3g} {sign} {bound:g} {'met' if met else 'MISSED'}")
    return "; ".join(marks)


def _fastest(found: Mapping[str, Candidate]) -> str | None:
    return next((name for name, candidate in found.items() if candidate.ours), None)


def _compare_shapes(options: argparse.Namespace) -> None:
    found = candidates(options.dtype, options.device)
    patterns = options.only or MEASURED[options.device.type]
    found = {name: c for name, c in found.items() if any(fnmatch(name, pattern) for pattern in patterns)}
    every: list[records.Row] = []
    for shape in options.shapes or map(Shape.parse, DEFAULT_SHAPES[options.device.type]):
        rows = measure(shape, found, options)
        faster = compare(rows)
        fastest = _fastest(found)
        for row in rows:
            row["targets"] = targets(row) if row["candidate"] == fastest else ""
        print(records.table(rows, _HEADINGS, digits=3))
        print(f"The faster conv2d: {', '.join(f'{name} ({kind})' for kind, name in faster.items()) or 'not measured'}.")
        for row in rows:
            if row["targets"]:
                print(f"Targets of {row['candidate']}: {row['targets']}.")
        print(flush=True)
        every += rows
        if options.csv is not None:
            records.write(options.csv, every)


def _scale(options: argparse.Namespace) -> None:
    found = candidates(options.dtype, options.device)
    found = {name: candidate for name, candidate in found.items() if name in (_fastest(found), "published")}
    every: list[records.Row] = []
    for size in options.scaling or SCALING_SIZES:
        shape = Shape(1, 64, size, size, 7)
        rows = measure(shape, found, options, memory_of=KINDS)
        for row in rows:
            for kind in KINDS:
                milliseconds, mebibytes = records.number(row, f"{kind}_ms"), records.number(row, f"{kind}_mib")
                row[f"{kind}_ns_per_pixel"] = None if milliseconds is None else 1e6 * milliseconds / shape.pixels
                row[f"{kind}_bytes_per_pixel"] = None if mebibytes is None else 2**20 * mebibytes / shape.pixels
        timing.progress("")
        every += rows
        if options.csv is not None:
            records.write(options.csv, every)
    print(records.table(every, _SCALING_HEADINGS, digits=3))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.parser("speed.operator", __doc__)
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, help="NxCxHxWxl; default: those that have targets")
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help='candidates, such as "acda *"; default: MEASURED')
    parser.add_argument("--scaling", nargs="*", type=int, metavar="SIDE", help="C=64, l=7 at growing image sides")
    options = records.parse(parser, arguments)
    for name, reason in reasons(options.dtype, options.device).items():
        if reason is not None:
            timing.say_once(f"acda {name} cannot run: {reason}")
    with timing.equal_terms():
        if options.scaling is None:
            _compare_shapes(options)
        else:
            _scale(options)


if __name__ == "__main__":
    main()
