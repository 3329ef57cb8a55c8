"""The Triton kernels compile for every architecture and fit it, which can be told without a GPU."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speed.disassembly import count_instructions

triton = pytest.importorskip("triton")
ROOT = Path(__file__).parents[3]
# Shared memory of a program, at most; CUDA's programming guide, technical specifications per compute capability.
SHARED = {80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
REGISTERS = 2**16  # of a multiprocessor, in all of them
# None with the compiler that tiles were chosen with; others, which come with other releases, were seen to spill this.
SPILLED = 0 if triton.__version__.startswith("3.8.") else 64


def resources(folder: Path, *options: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """What the script writes, and what it shows, in a process of its own: here Triton may interpret kernels."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.speed.gpu_resources", *options, "--csv", str(folder / "rows.csv")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"TRITON_CACHE_DIR": str(folder)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with (folder / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    headings, *lines = ([cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines())
    shown = [dict(zip(headings, line, strict=False)) for line in lines]
    assert len(shown) == len(rows)
    return rows, shown


@pytest.mark.slow
def test_two_programs_fit_a_multiprocessor_of_compute_capability_9(tmp_path: Path) -> None:
    rows, shown = resources(tmp_path, "--arch", "90", "--kernel-size", "3", "7", "--dtype", "bf16")
    assert [(row["kernel"], row["kernel_size"]) for row in rows] == [
        (kernel, size) for size in "37" for kernel in ("forward", "gather", "correlate")
    ]
    for row in rows:
        assert int(row["registers"]) <= 128, row
        assert 2 * int(row["registers"]) * 32 * int(row["warps"]) <= REGISTERS, row
        assert int(row["spilled_bytes"]) <= SPILLED, row
        assert 2 * (int(row["shared_bytes"]) + 1024) <= 228 * 1024, row  # 1 KB of each is the system's
        assert row["tensor_cores"] == "wgmma.mma_async", row
    # One program takes all 256 channels, and makes the band of taps once for them.
    forward = next(row for row in shown if row["kernel"] == "forward" and row["l"] == "7")
    assert 0 < int(forward["instructions"]) <= 1450, forward


@pytest.mark.slow
def test_kernels_fit_each_architecture(tmp_path: Path) -> None:
    others = [arch for arch in SHARED if arch != 90]
    rows, _ = resources(tmp_path, "--arch", *map(str, others), "--kernel-size", "7", "--dtype", "bf16")
    assert [(int(row["arch"]), row["kernel"]) for row in rows] == [
        (arch, kernel) for arch in others for kernel in ("forward", "gather", "correlate")
    ]
    for row in rows:
        assert int(row["registers"]) <= 255, row
        assert int(row["spilled_bytes"]) <= SPILLED, row
        assert int(row["shared_bytes"]) <= SHARED[int(row["arch"])] * 1024, row
        assert row["tensor_cores"], row


def disassembled(*lines: str) -> str:
    """Instructions and labels as ``nvdisasm`` prints them."""
    return "\n".join(
        line if line.endswith(":") else f"        /*{16 * n:04x}*/  {line} ;" for n, line in enumerate(lines)
    )


def test_instructions_are_counted_as_they_are_executed() -> None:
    start, end = ("MOV R1, R2", "@!P0 BRA `(.L_x_9)"), ("@!P0 EXIT", "BAR.SYNC", ".L_x_9:", "EXIT")
    body = (".L_x_1:", "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8]", "IADD3 R1, R1, R2")
    once = disassembled(*start, *body, *end)
    at_the_end = disassembled(*start, *body, "@!P5 BRA `(.L_x_1)", *end)
    uniform = disassembled(*start, *body, "BRA.U !UP2, `(.L_x_1)", *end)
    in_the_middle = disassembled(
        *start,
        *body,
        "@P6 CALL.REL.NOINC `(.L_x_2)",
        "BRA `(.L_x_1)",
        ".L_x_2:",
        "BRA `(.L_x_3)",
        "NOP",
        ".L_x_3:",
        *end,
    )
    assert [count_instructions(once, passes) for passes in (1, 3)] == [5, 5]
    assert [count_instructions(at_the_end, passes) for passes in (1, 3)] == [6, 6 + 2 * 3]
    assert [count_instructions(uniform, passes) for passes in (1, 3)] == [6, 6 + 2 * 3]
    assert [count_instructions(in_the_middle, passes) for passes in (1, 3)] == [7, 7 + 2 * 4]
    with pytest.raises(ValueError, match="no tensor-core instruction before the first exit"):
        count_instructions(disassembled("MOV R1, R2", "EXIT"), 1)
