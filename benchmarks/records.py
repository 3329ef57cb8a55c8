"""The command line of scripts that measure, and how they show and keep their results."""

import argparse
import csv
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.machine import machine

Value = str | int | float | None
Row = dict[str, Value]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def plain_parser(module: str, description: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Make a parser without options, which calls the script as users do and shows its docstring as it is written.

    Args:
        module: Name of the script within ``benchmarks``.
        description: Its docstring.
        epilog: What stands below the options. Default: nothing.
    """
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Make a parser of the options that every measuring script has.

    Args:
        module: Name of the script within ``benchmarks``.
        description: Its docstring.

    Returns:
        A parser to add the script's own options to; use it through :func:`parse`.
    """
    made = plain_parser(module, description)
    made.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU")
    made.add_argument("--dtype", choices=tuple(DTYPES), help="default: float32 on the CPU, bfloat16 on a GPU")
    made.add_argument("--rounds", type=int, help="times each candidate runs (default: 11, on a GPU 20)")
    made.add_argument("--quick", action="store_true", help="three rounds")
    made.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    made.add_argument("--csv", type=Path, help="also write the rows here")
    return made


def parse(made: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read a command line; device, dtype and rounds are resolved to what they stand for.

    Args:
        made: From :func:`parser`.
        arguments: Command line, by default the process's.
    """
    options = made.parse_args(arguments)
    options.device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = options.device.type == "cuda"
    options.dtype = DTYPES[options.dtype or ("bfloat16" if on_gpu else "float32")]
    options.rounds = 3 if options.quick else options.rounds or (20 if on_gpu else 11)
    return options


def setting(options: argparse.Namespace) -> Row:
    """Return the columns that say how a row was measured."""
    dtype = next(name for name, dtype in DTYPES.items() if dtype is options.dtype)
    return {"device": options.device.type, "dtype": dtype, "rounds": options.rounds}


def number(row: Mapping[str, Value], column: str) -> float | None:
    """Return the value of a column, None where it was not measured."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else None


def ratio(numerator: Mapping[str, Value], denominator: Mapping[str, Value], column: str) -> float | None:
    """Divide a column of one row by that of another; None where one of them was not measured or the latter is 0."""
    above, below = number(numerator, column), number(denominator, column)
    return None if above is None or not below else above / below


def _text(value: Value, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def table(rows: Sequence[Mapping[str, Value]], headings: Mapping[str, str], digits: int = 4) -> str:
    """Lay out rows as aligned text.

    Args:
        rows: What to show.
        headings: Column → its heading, in the order to show; numbers are set to the right.
        digits: Significant digits of floating-point numbers.

    Returns:
        Lines without a newline at the end.
    """
    lines = [list(headings.values()), *([_text(row.get(key), digits) for key in headings] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [any(isinstance(row.get(key), int | float) for row in rows) for key in headings]
    cells = [
        [cell.rjust(w) if n else cell.ljust(w) for cell, w, n in zip(line, widths, numeric, strict=True)]
        for line in lines
    ]
    return "\n".join(" | ".join(line).rstrip() for line in cells)


def read(path: Path) -> list[Row]:
    """Read rows that :func:`write` wrote, as texts.

    Args:
        path: The file.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]


def write(path: Path, rows: Sequence[Mapping[str, Value]]) -> None:
    """Write rows and the machine they were measured on as CSV; the file appears whole or not at all.

    Args:
        path: The file; its folder is made.
        rows: Columns are those of all rows, in the order in which they first appear. Rows that were read from a file
            keep the machine that stands in them.
    """
    measured_on = machine()
    own = [key for row in rows for key in row if key not in measured_on]
    columns = list(dict.fromkeys([*own, *measured_on]))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows({key: _text(v, 9) for key, v in {**measured_on, **row}.items()} for row in rows)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
