"""The generator's 3×3 convolution by Winograd's algorithm against PyTorch's, forward and both gradients.

``python -m benchmarks.speed.winograd --csv benchmarks/results/winograd.csv``

Float32, channels last, one thread. Both run in turn. An error is the norm of the difference to float64 by that of the
result; where ours is above the bound of the operator's, nothing is timed.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from acda.ops.cpu import winograd
from benchmarks import records
from benchmarks.speed import timing
from benchmarks.speed.forms import TOLERANCES

# Images, channels in and out, side: the generator's in LeNet + ACDA and in layers of 64 and 256 channels.
CASES = ("128x64x72x32", "128x64x72x16", "4x64x36x64", "4x64x108x56", "1x64x108x50")
TOLERANCE = TOLERANCES[torch.float32]
_PADDING = (1, 1)
_HEADINGS = {
    "case": "case (NxCxOxH)",
    "kind": "kind",
    "ours_ms": "ours ms",
    "torch_ms": "PyTorch ms",
    "ratio": "ours ÷ PyTorch",
    "ours_error": "error of ours",
    "torch_error": "of PyTorch's",
}

Pass = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From image, weight and gradient of the output."""


def _backward(wanted: int) -> Pass:
    """Make PyTorch's gradient of the image (0) or the weight (1)."""
    mask = [wanted == 0, wanted == 1, False]

    def run(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
        grads = torch.ops.aten.convolution_backward(
            grad, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
        )
        found: Tensor = grads[wanted]
        return found

    return run


PASSES: dict[str, tuple[Pass, Pass]] = {
    "forward": (
        lambda x, weight, grad: winograd.convolve(x, weight, _PADDING),
        lambda x, weight, grad: F.conv2d(x, weight, padding=1),
    ),
    "gradient of x": (
        lambda x, weight, grad: winograd.convolve(grad, weight.flip(2, 3).transpose(0, 1), _PADDING),
        _backward(0),
    ),
    "gradient of the weight": (lambda x, weight, grad: winograd.grad_weight(grad, x, _PADDING), _backward(1)),
}
"""Ours and PyTorch's."""


def measure(case: str, kind: str, rounds: int) -> records.Row:
    """Compare one pass, in milliseconds.

    Args:
        case: Images, channels in and out, side; such as ``4x64x36x64``.
        kind: Key of ``PASSES``.
        rounds: Times each is run.

    Returns:
        A row; without times where ours is wrong.
    """
    images, channels, out, side = map(int, case.split("x"))
    x, grad = (
        torch.randn(images, c, side, side).contiguous(memory_format=torch.channels_last) for c in (channels, out)
    )
    operands = x, torch.randn(out, channels, 3, 3), grad
    ours, theirs = PASSES[kind]
    truth = theirs(*(operand.double() for operand in operands))
    errors = [float((run(*operands) - truth).norm() / truth.norm()) for run in (ours, theirs)]
    row: records.Row = {"case": case, "kind": kind, "rounds": rounds}
    if errors[0] <= TOLERANCE:
        candidates = {"ours": lambda: ours(*operands), "torch": lambda: theirs(*operands)}
        seconds = timing.time_in_turn(candidates, rounds, x.device)
        row |= {f"{name}_ms": 1e3 * statistics.median(times) for name, times in seconds.items()}
        row["ratio"] = records.ratio({"ms": row["ours_ms"]}, {"ms": row["torch_ms"]}, "ms")
    return row | {"ours_error": errors[0], "torch_error": errors[1]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("speed.winograd", __doc__)
    parser.add_argument("--cases", nargs="+", default=CASES, help=f"default: {' '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=11, help="times each runs (default 11)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [measure(case, kind, options.rounds) for case in options.cases for kind in PASSES]
    finally:
        torch.set_num_threads(threads)
    print(records.table(rows, _HEADINGS, digits=3))
    if options.csv is not None:
        records.write(options.csv, rows)


if __name__ == "__main__":
    main()
