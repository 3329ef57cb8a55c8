"""``python -m benchmarks.speed.narrow`` on a tiny layer."""

import csv
from pathlib import Path

import pytest

from benchmarks.speed import narrow


@pytest.mark.slow
def test_against_a_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "narrow.csv"
    here = str(Path(__file__).parents[3])
    narrow.main(["--cases", "1x2x3x6x3", "--rounds", "2", "--against", here, "--csv", str(table)])
    assert "acda ÷ conv2d" in capsys.readouterr().out
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["kind"]) for row in rows] == [("1x2x3x6x3", "forward"), ("1x2x3x6x3", "step")]
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(float(row["acda_ms"]) / float(row["conv2d_ms"]), rel=1e-6)
        assert float(row["against_ms"]) > 0


def test_what_is_no_checkout_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        narrow.main(["--against", str(tmp_path)])
    assert "--against: must be a checkout" in capsys.readouterr().err
