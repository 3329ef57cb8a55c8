"""``python -m benchmarks.speed.freed_memory`` without its runs."""

import json
import resource
from pathlib import Path
from types import SimpleNamespace

import pytest

import cli
from benchmarks import records
from benchmarks.speed import freed_memory
from tests.benchmarks import rows_of


@pytest.mark.parametrize("name", freed_memory.EXPERIMENTS)
def test_experiments_are_what_the_command_line_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [argument.format(images="images", data="data") for argument in freed_memory.EXPERIMENTS[name].arguments]
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--print_config"])
    assert not ended.value.code
    assert "class_path: lit_modules." in capsys.readouterr().out


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_predict_batch_end"])
def test_a_meter_takes_the_batches_after_the_first_ones(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = iter(
        SimpleNamespace(ru_utime=3.0 * i, ru_stime=1.0 * i, ru_minflt=10 * i, ru_maxrss=2048) for i in range(9)
    )
    monkeypatch.setattr(resource, "getrusage", lambda who: next(usage))
    meter, trainer = freed_memory.Meter(4, str(tmp_path / "found"), warm_up=2), SimpleNamespace(should_stop=False)
    for i in range(6):
        assert not trainer.should_stop, i
        getattr(meter, hook)(trainer)
    assert trainer.should_stop
    found = json.loads((tmp_path / "found").read_text())
    assert found == {"step_ms": 4000.0, "system_share": 0.25, "faults": 10.0, "mib": 2.0}


def test_rows_are_medians_and_their_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {True: iter([30.0, 10.0, 20.0]), False: iter([90.0, 40.0, 50.0])}
    order = []

    def run(experiment: freed_memory.Experiment, keep: bool, folder: Path) -> records.Row:
        assert len(list((folder / "images").iterdir())) > experiment.steps
        order.append(keep)
        return {"step_ms": next(steps[keep]), "mib": 3.0 if keep else 2.0}

    monkeypatch.setattr(freed_memory, "run", run)
    path = tmp_path / "rows.csv"
    freed_memory.main(["--experiments", "crowd", "--rounds", "3", "--csv", str(path)])
    assert order == [True, False, False, True, True, False]
    (row,) = rows_of(path)
    assert (row["kept_step_ms"], row["given_back_step_ms"]) == ("20", "50")
    assert (row["step_ratio"], row["memory_ratio"]) == ("0.4", "1.5")
