"""The paper's Table 6 beside this implementation: multiply-accumulates and parameters of one layer.

Run ``python -m benchmarks.speed.table6``, or with ``--markdown`` for a table to paste.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import nn

from acda import ACDAConv2d
from acda.analysis import acda_macs, conv2d_macs, cost, generator_macs
from benchmarks import records

KERNEL_SIZES = (3, 5, 7)
CHANNELS = 256
SIDE = 100
HIDDEN_CHANNELS = 64
NUM_ATOMS = 6
NUM_BASES = 6

NOTES = (
    "Conv and ACDA (conv only), MACs: hw(c'cl² + c) and hw(c'ml² + c'mc + c), the bias one for each output.",
    "+ atom generation, MACs: the paper's row adds 238.2 M at 3×3 and, to rounding, the same at 5×5 and 7×7. That does "
    "not follow from the formula it prints, hw(c'd(1 + l_a²) + dSm'(1 + l_b²)), which grows with the number of scales "
    "S = 1, 2, 3; the row after it is what that formula yields, on top of ACDA (conv only). Ours counts "
    "hw(c'dl_a² + dmSm'l_b²) for the generator's convolutions, which emit coefficients of m atoms and have no bias, "
    "and hw·mSm'l² for the atoms.",
    "Conv, parameters: at 7×7 there are 256·256·49 = 3.21 M weights; the paper prints 3.12.",
    "ACDA (conv only), parameters: weight and bias. + atom generation: all of the layer's, with its norms.",
)


class Row(NamedTuple):
    """One row: what is counted, for what, by whom, and a number in millions for each kernel size."""

    quantity: str
    layer: str
    source: str
    cells: tuple[str, str, str]


def _millions(counts: Iterable[float], digits: int) -> tuple[str, str, str]:
    small, middle, large = (f"{count / 1e6:,.{digits}f}" for count in counts)
    return small, middle, large


def _generation_as_printed(kernel_size: int) -> int:
    """Count the multiply-accumulates of generating atoms by the formula that the paper prints in section 4.4."""
    scales = kernel_size // 2
    return SIDE**2 * (CHANNELS * HIDDEN_CHANNELS * (1 + 1**2) + HIDDEN_CHANNELS * scales * NUM_BASES * (1 + 3**2))


def rows() -> list[Row]:
    """Compute the rows of the table, the paper's before ours.

    Returns:
        Three pairs of rows for multiply-accumulates, and one for the paper's printed formula; three for parameters.

    Reference:
        Paper Table 6: 256 channels in and out, 100×100 pixels, kernels 3×3, 5×5, 7×7.
    """
    conv = [conv2d_macs(CHANNELS, CHANNELS, side, SIDE, SIDE) for side in KERNEL_SIZES]
    acda = [acda_macs(CHANNELS, CHANNELS, side, SIDE, SIDE, NUM_ATOMS) for side in KERNEL_SIZES]
    generation = [
        generator_macs(CHANNELS, NUM_ATOMS * NUM_BASES * (side // 2), side, SIDE, SIDE, HIDDEN_CHANNELS)
        for side in KERNEL_SIZES
    ]
    printed = [_generation_as_printed(side) for side in KERNEL_SIZES]
    plain = [nn.Conv2d(CHANNELS, CHANNELS, side, device="meta") for side in KERNEL_SIZES]
    adaptive = [
        ACDAConv2d(
            CHANNELS,
            CHANNELS,
            side,
            device="meta",
            num_atoms=NUM_ATOMS,
            num_bases=NUM_BASES,
            hidden_channels=HIDDEN_CHANNELS,
        )
        for side in KERNEL_SIZES
    ]
    shape = (1, CHANNELS, SIDE, SIDE)
    whole = [cost(layer, shape).parameters for layer in adaptive]
    in_generator = [cost(layer.generator, shape).parameters for layer in adaptive]
    only = [a - b for a, b in zip(whole, in_generator, strict=True)]
    macs, parameters = "MACs (M)", "Parameters (M)"
    conv_only, complete = "ACDA (conv only)", "ACDA (+ atom generation)"

    def summed(a: Sequence[int], b: Sequence[int]) -> list[int]:
        return [x + y for x, y in zip(a, b, strict=True)]

    return [
        Row(macs, "Conv", "paper", ("5,900.8", "16,386.6", "32,115.2")),
        Row(macs, "Conv", "ours", _millions(conv, 1)),
        Row(macs, conv_only, "paper", ("4,073.0", "4,318.7", "4,687.4")),
        Row(macs, conv_only, "ours", _millions(acda, 1)),
        Row(macs, complete, "paper", ("4,311.2", "4,557.0", "4,925.7")),
        Row(macs, complete, "paper's formula", _millions(summed(acda, printed), 1)),
        Row(macs, complete, "ours", _millions(summed(acda, generation), 1)),
        Row(parameters, "Conv", "paper", ("0.59", "1.64", "3.12")),
        Row(parameters, "Conv", "ours", _millions((cost(layer, shape).parameters for layer in plain), 2)),
        Row(parameters, conv_only, "paper", ("0.39", "0.39", "0.39")),
        Row(parameters, conv_only, "ours", _millions(only, 2)),
        Row(parameters, complete, "paper", ("0.41", "0.43", "0.45")),
        Row(parameters, complete, "ours", _millions(whole, 2)),
    ]


def table(markdown: bool = False) -> str:
    """Lay out the table and its notes as text.

    Args:
        markdown: Lay it out as Markdown, else in columns of plain text.

    Returns:
        Lines without a newline at the end.
    """
    heading = ("", "Layer", "Source", *(f"{side}×{side}" for side in KERNEL_SIZES))
    lines = [heading, *((row.quantity, row.layer, row.source, *row.cells) for row in rows())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heading))]
    texts = [
        [line[i].ljust(width) if i < 3 else line[i].rjust(width) for i, width in enumerate(widths)] for line in lines
    ]
    if markdown:
        out = [f"| {' | '.join(cells)} |" for cells in texts]
        out.insert(1, "|" + "|".join("---" if i < 3 else "---:" for i in range(len(heading))) + "|")
        return "\n".join([*out, "", *(f"- {note}" for note in NOTES)])
    return "\n".join(["  ".join(cells).rstrip() for cells in texts] + [""] + [f"* {note}" for note in NOTES])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = records.plain_parser("speed.table6", __doc__)
    parser.add_argument("--markdown", action="store_true", help="a Markdown table instead of plain text")
    print(table(parser.parse_args(arguments).markdown))


if __name__ == "__main__":
    main()
