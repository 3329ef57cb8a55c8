"""``python -m benchmarks.speed.table6`` prints the paper's rows, and ours beside them."""

import re
import runpy
import sys

import pytest

from benchmarks.speed.table6 import main

MACS, PARAMETERS = "MACs (M)", "Parameters (M)"

# Where a number is not the paper's, it is from a formula, at 10⁴ pixels, c = c' = 256, d = 64, m = m' = 6, S = 1, 2, 3.
EXPECTED = [
    (MACS, "Conv", "paper", "5,900.8", "16,386.6", "32,115.2"),
    (MACS, "Conv", "ours", "5,900.8", "16,386.6", "32,115.2"),
    (MACS, "ACDA (conv only)", "paper", "4,073.0", "4,318.7", "4,687.4"),
    (MACS, "ACDA (conv only)", "ours", "4,073.0", "4,318.7", "4,687.4"),
    (MACS, "ACDA (+ atom generation)", "paper", "4,311.2", "4,557.0", "4,925.7"),
    # conv only + c'd·2 + 64·S·6·10: 407,296 + 32,768 + 3,840 = 443,904 a pixel at 3×3
    (MACS, "ACDA (+ atom generation)", "paper's formula", "4,439.0", "4,723.2", "5,130.2"),
    # conv only + c'd + 64·36S·9 + 36S·l²: 407,296 + 16,384 + 20,736 + 324 = 444,740 a pixel at 3×3
    (MACS, "ACDA (+ atom generation)", "ours", "4,447.4", "4,915.3", "5,526.2"),
    (PARAMETERS, "Conv", "paper", "0.59", "1.64", "3.12"),
    (PARAMETERS, "Conv", "ours", "0.59", "1.64", "3.21"),
    (PARAMETERS, "ACDA (conv only)", "paper", "0.39", "0.39", "0.39"),
    (PARAMETERS, "ACDA (conv only)", "ours", "0.39", "0.39", "0.39"),
    (PARAMETERS, "ACDA (+ atom generation)", "paper", "0.41", "0.43", "0.45"),
    # 256·256·6 + 256 + 256·64 + 64·36S·9 + 2(64 + 36S): 430,792 at 3×3
    (PARAMETERS, "ACDA (+ atom generation)", "ours", "0.43", "0.45", "0.47"),
]


def per_pixel(scales: int) -> tuple[int, int, int]:
    """MACs of the convolutions, of generation by the paper's printed formula, and of ours, from the symbols."""
    side = 2 * scales + 1
    convolutions = 256 * 6 * side**2 + 256 * 6 * 256 + 256
    printed = 256 * 64 * (1 + 1) + 64 * scales * 6 * (1 + 9)
    ours = 256 * 64 + 64 * 6 * scales * 6 * 9 + 6 * scales * 6 * side**2
    return convolutions, printed, ours


def test_expected_rows_follow_from_the_formulas() -> None:
    cells = {(quantity, layer, source): rest for quantity, layer, source, *rest in EXPECTED}
    for scales in (1, 2, 3):
        convolutions, printed, ours = per_pixel(scales)
        layer = "ACDA (+ atom generation)"
        assert cells[MACS, layer, "paper's formula"][scales - 1] == f"{(convolutions + printed) / 100:,.1f}"
        assert cells[MACS, layer, "ours"][scales - 1] == f"{(convolutions + ours) / 100:,.1f}"
        coefficients = 36 * scales
        numbers = 256 * 256 * 6 + 256 + 256 * 64 + 64 * coefficients * 9 + 2 * (64 + coefficients)
        assert cells[PARAMETERS, layer, "ours"][scales - 1] == f"{numbers / 1e6:.2f}"


@pytest.mark.parametrize(
    ("arguments", "separator"), [([], r" {2,}"), (["--markdown"], r" *\| *")], ids=["plain", "markdown"]
)
def test_rows(arguments: list[str], separator: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(arguments)
    lines = [line.strip("| ") for line in capsys.readouterr().out.splitlines()]
    rows = [tuple(re.split(separator, line)) for line in lines if line.startswith((MACS, PARAMETERS))]
    assert rows == EXPECTED


def test_notes_say_what_does_not_follow(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("*")]
    assert any("238.2 M" in note and "not follow from the formula" in note for note in notes)
    assert any("3.21" in note and "paper prints 3.12" in note for note in notes)


def test_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["table6", "--markdown"])
    monkeypatch.delitem(sys.modules, "benchmarks.speed.table6")
    runpy.run_module("benchmarks.speed.table6", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("|---")
    assert any("4,687.4" in line for line in lines)
