from pathlib import Path

import pytest
import torch

from benchmarks.speed import winograd
from tests.benchmarks import rows_of


def test_each_pass_is_checked_and_timed(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    winograd.main(["--cases", "1x16x20x9", "--rounds", "2", f"--csv={tmp_path / 'rows.csv'}"])
    assert torch.get_num_threads() == threads
    rows = rows_of(tmp_path / "rows.csv")
    assert [row["kind"] for row in rows] == list(winograd.PASSES)
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["ours_ms"]) / float(row["torch_ms"]), rel=1e-6)
        assert float(row["ours_error"]) < winograd.TOLERANCE


def test_what_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = winograd.winograd.convolve
    monkeypatch.setattr(winograd.winograd, "convolve", lambda *operands: compute(*operands) * 1.001)
    row = winograd.measure("1x16x20x9", "forward", 2)
    assert row["ours_error"] == pytest.approx(1e-3, rel=0.01)
    assert "ours_ms" not in row
