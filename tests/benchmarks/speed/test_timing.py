"""Interleaving, refusals and peak memory."""

from pathlib import Path

import pytest
import torch

from benchmarks.speed import timing

CPU = torch.device("cpu")


def test_candidates_run_in_turn() -> None:
    ran: list[str] = []
    seconds = timing.time_in_turn({name: lambda name=name: ran.append(name) for name in "abc"}, 4, CPU)
    assert "".join(ran) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert all(len(values) == 4 and min(values) >= 0 for values in seconds.values())


def test_candidate_that_runs_out_of_memory_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def too_large() -> None:
        torch.empty(2**60, dtype=torch.int8)

    runs = {"large": too_large, "small": lambda: None}
    rows = timing.time_kinds({"forward": runs}, 2, CPU)
    assert rows["large"] == {"status": timing.OUT_OF_MEMORY}
    assert rows["small"]["status"] == "ok" and set(rows["small"]) == {"status", "forward_ms", "forward_iqr_ms"}
    assert "large ran out of memory" in capsys.readouterr().err


def test_other_errors_are_not_hidden() -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        timing.time_in_turn({"broken": broken}, 1, CPU)


def test_summary_is_robust() -> None:
    assert timing.summary("step", [0.004, 0.002, 0.001, 1.0, 0.003]) == pytest.approx({"step_ms": 3, "step_iqr_ms": 2})
    assert timing.summary("step", [0.002]) == pytest.approx({"step_ms": 2, "step_iqr_ms": 0})


def test_refusal_shows_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "available_bytes", lambda device: 3 * 2**30)
    assert timing.refusal(3 * 2**30, CPU) is None
    assert timing.refusal(40 * 2**30, CPU) == "refused: needs 40 GiB, 3 GiB available"
    monkeypatch.setattr(timing, "available_bytes", lambda device: None)
    assert timing.refusal(2**60, CPU) is None


def allocate(mebibytes: int) -> tuple[timing.Run, timing.Run]:
    kept = torch.ones(mebibytes, 2**20, dtype=torch.uint8)  # an input: does not count
    return lambda: kept.clone(), lambda: kept[:1].clone()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system does not tell peak memory")
def test_peak_memory_sees_an_allocation() -> None:
    assert timing.peak_extra_mib(allocate, (64,), CPU) == pytest.approx(64, abs=10)


def test_peak_memory_is_empty_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timing, "_PROC", tmp_path)
    timing.say_once.cache_clear()
    assert [timing.peak_extra_mib(allocate, (1,), CPU) for _ in range(2)] == [None, None]
    assert capsys.readouterr().err.count("not measured") == 1
