"""The Triton kernels compile for an H100 and fit it, which can be told without one."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_kernels_fit_compute_capability_9(tmp_path: Path) -> None:
    """In a process of its own: here Triton may interpret kernels."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [
        sys.executable,
        "-m",
        "benchmarks.speed.gpu_resources",
        "--arch",
        "90",
        "--csv",
        str(tmp_path / "rows.csv"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"TRITON_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["kernel"], row["kernel_size"], row["dtype"]) for row in rows} == {
        (kernel, size, dtype)
        for kernel in ("forward", "gather", "correlate")
        for size in "357"
        for dtype in ("bf16", "fp32")
    }
    for row in rows:
        assert int(row["registers"]) <= 255, row
        assert int(row["spilled_bytes"]) == 0, row
        assert int(row["shared_bytes"]) <= 227 * 1024, row
        if row["dtype"] == "bf16":
            assert row["tensor_cores"], row
