import csv
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from acda.models import AdResNet
from acda.models.residual import DynamicBottleneck
from benchmarks import records
from benchmarks.machine import ROOT
from benchmarks.studies import compare, crowd, study
from benchmarks.studies.convolutions import ACDA_WIDTH, candidate, network
from benchmarks.studies.matching import CONVOLUTIONS, match_width, network_in, parameters
from datamodules import ShanghaiTechDataModule, SyntheticCrowdDataModule
from datamodules.batches import CrowdBatch
from tests.benchmarks import rows_of
from tests.support.crowd_files import write_shanghaitech

# Stands for cli.py: its error is the seed's square plus what --offset says, and it fails where told to.
PROGRAM = """
import csv, pathlib, sys
options = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[2:])
if options.get("fail") == sys.argv[1]:
    sys.exit("no such thing")
folder = pathlib.Path(options["trainer.default_root_dir"], "version_0", sys.argv[1])
folder.mkdir(parents=True)
error = int(options["seed_everything"]) ** 2 + float(options.get("offset", 0))
(folder / "ckpt_path.txt").write_text(options.get("ckpt_path", "none"))
(folder / "metrics.csv").write_text(f"test/error,config\\n,\\n{error},{options['config']}\\n")
"""


@pytest.fixture
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cli.py").write_text(PROGRAM)
    monkeypatch.setattr(study, "ROOT", tmp_path)


@pytest.mark.usefixtures("_program")
def test_comparison_gives_each_run_and_the_mean_over_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = tmp_path / "rows.csv"
    compare.main(["a.yaml", "b.yaml", "--metric=test/error", f"--csv={result}", "--jobs=2", "--offset=10"])
    with result.open() as file:
        written = list(csv.DictReader(file))
    assert all(row["torch"] == torch.__version__ and row["fit_seconds"] for row in written)
    rows = [(row["config"], row["seed"], float(row["test/error"])) for row in written]
    assert rows == [(config, str(seed), seed**2 + 10) for seed in range(3) for config in ("a.yaml", "b.yaml")]
    # 10, 11 and 14 have mean 35 / 3 and standard deviation √(13 / 3)
    assert capsys.readouterr().out.endswith("a.yaml  test/error 11.667 ± 2.08\nb.yaml  test/error 11.667 ± 2.08\n")


@pytest.mark.usefixtures("_program")
def test_a_run_that_fails_ends_the_study_with_its_output() -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        compare.main(["a.yaml", "--metric=test/error", "--seeds=1", "--fail=test"])


@pytest.mark.usefixtures("_program")
def test_a_study_may_look_at_the_finished_run(tmp_path: Path) -> None:
    options = study.parser("x", None).parse_args(["--seeds=1", f"--keep={tmp_path / 'kept'}"])
    candidates = [
        study.Candidate("a.yaml", {"network": name}, ["test/error"], [f"--offset={name}"]) for name in ("1", "2")
    ]
    rows = study.run(candidates, options, [], lambda _, run: {"folders": len(list(run.iterdir()))})
    assert [(row["network"], row["test/error"], row["folders"]) for row in rows] == [
        ("1", 1.0, 2),
        ("2", 2.0, 2),
    ]
    assert (tmp_path / "kept" / "1_0" / "version_0").is_dir()


@pytest.mark.usefixtures("_program")
def test_a_study_that_was_interrupted_repeats_no_finished_run(tmp_path: Path) -> None:
    options = study.parser("x", None).parse_args(["--seeds=2", f"--keep={tmp_path}"])
    candidates = [study.Candidate("a.yaml", {"network": name}, ["test/error"]) for name in ("one", "two")]

    def finish(tried: study.Candidate, run: Path) -> dict[str, float]:
        if tried.facts["network"] == "two" and broken:
            raise RuntimeError("interrupted")
        return {"began": run.stat().st_mtime_ns}

    broken = True
    with pytest.raises(RuntimeError, match="interrupted"):
        study.run(candidates, options, [], finish)
    began = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*_?/version_0")}
    assert {"one_0", "two_0"} <= {path.parent.name for path in began}
    broken = False
    rows = study.run(candidates, options, [], finish)
    assert [(row["network"], row["seed"], row["test/error"]) for row in rows] == [
        (name, seed, float(seed)) for seed in (0, 1) for name in ("one", "two")
    ]
    assert all(path.stat().st_mtime_ns == time for path, time in began.items())


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A file with the first run of two experiments, of which the first's error is 7 instead of 0."""
    file = tmp_path / "rows.csv"
    compare.main(["a.yaml", "b.yaml", "--seeds=1", "--metric=test/error", f"--csv={file}"])
    records.write(
        file, [row | ({"test/error": "7"} if row["config"] == "a.yaml" else {}) for row in records.read(file)]
    )
    return file


@pytest.mark.usefixtures("_program")
@pytest.mark.parametrize(
    # of 7 and 1 the deviation is 3 · √2, of 0 and 1 half of √2
    ("resumed", "first", "mean"),
    [(["--resume"], "7", "4 ± 4.24"), ([], "0", "0.5 ± 0.707")],
)
def test_a_row_of_a_run_counts_where_it_is_resumed_else_is_replaced(
    measured: Path, resumed: list[str], first: str, mean: str, capsys: pytest.CaptureFixture[str]
) -> None:
    compare.main(["a.yaml", "--seeds=2", "--metric=test/error", f"--csv={measured}", *resumed])
    assert [(row["config"], row["seed"], row["test/error"]) for row in records.read(measured)] == [
        ("a.yaml", "0", first),
        ("b.yaml", "0", "0"),
        ("a.yaml", "1", "1"),
    ]
    assert capsys.readouterr().out.endswith(f"a.yaml  test/error {mean}\n")


@pytest.mark.usefixtures("_program")
def test_a_run_without_a_metric_that_is_asked_for_is_repeated(measured: Path) -> None:
    records.write(measured, [row | {"test/error": ""} for row in records.read(measured)])
    compare.main(["a.yaml", "--seeds=1", "--metric=test/error", f"--csv={measured}", "--resume"])
    assert [row["test/error"] for row in records.read(measured)] == ["0", ""]


def test_without_a_file_nothing_can_be_resumed() -> None:
    with pytest.raises(SystemExit, match="--resume needs --csv"):
        compare.main(["a.yaml", "--metric=test/error", "--resume"])


@pytest.mark.usefixtures("_program")
def test_other_options_are_another_run(tmp_path: Path) -> None:
    arguments = ["a.yaml", "--metric=test/error", "--seeds=1", f"--csv={tmp_path / 'rows.csv'}", "--resume"]
    compare.main(arguments)
    compare.main([*arguments, "--offset=10"])
    rows = [(row["options"], row["test/error"]) for row in records.read(tmp_path / "rows.csv")]
    assert rows == [("", "0"), ("--offset=10", "10")]


@pytest.mark.usefixtures("_program")
def test_kept_runs_are_not_taken_for_those_of_others(tmp_path: Path) -> None:
    arguments = ["--metric=test/error", "--seeds=1", f"--keep={tmp_path / 'kept'}"]
    compare.main(["a.yaml", *arguments])
    compare.main(["b.yaml", "a.yaml", *arguments, "--offset=10"])
    metrics = sorted((tmp_path / "kept").glob("*/version_0/test/metrics.csv"))
    rows = [row for path in metrics for row in rows_of(path) if row["test/error"]]
    assert [(row["config"], row["test/error"]) for row in rows] == [
        ("a.yaml", "0.0"),
        ("a.yaml", "10.0"),
        ("b.yaml", "10.0"),
    ]


@pytest.mark.usefixtures("_program")
def test_a_training_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    last = tmp_path / "kept" / "interrupted_0" / "version_0" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.touch()
    options = study.parser("x", None).parse_args(["--seeds=1", f"--keep={tmp_path / 'kept'}"])
    candidates = [study.Candidate("a.yaml", {"network": name}, ["test/error"]) for name in ("fresh", "interrupted")]
    asked: list[str] = []

    def finish(_: study.Candidate, run: Path) -> records.Row:
        asked.append((run / "fit" / "ckpt_path.txt").read_text())
        return {}

    study.run(candidates, options, [], finish)
    assert asked == ["none", "last"]


def test_width_is_that_of_the_nearest_number_of_parameters() -> None:
    assert match_width(lambda width: nn.Linear(width, 10, bias=False), 74, range(1, 100)) == 7
    assert match_width(lambda width: nn.Linear(width, 10, bias=False), 5000, range(1, 100)) == 99


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "DFN"])
def test_networks_that_are_compared_have_about_as_many_parameters(name: str) -> None:
    """DFN's steps from one width to the next are too large for that."""
    made = candidate("textures", name)
    aim = parameters(lambda: network("ACDA", ACDA_WIDTH, 4))
    assert made.facts["parameters"] == pytest.approx(aim, rel=0.05)
    assert any(argument.endswith(f"conv={CONVOLUTIONS[name].path}") for argument in made.arguments)


def test_parameters_are_counted_without_memory() -> None:
    assert parameters(lambda: nn.Linear(100_000, 10_000_000, bias=False)) == 10**12
    assert parameters(lambda: AdResNet(10)) == sum(p.numel() for p in AdResNet(10).parameters())
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize("name", crowd.COMPARED)
def test_counters_that_are_compared_are_those_of_the_configurations(name: str) -> None:
    made = crowd.candidate("shanghaitech_a", name)
    aim = parameters(lambda: network_in(crowd.CONFIGS["shanghaitech_a"]))
    assert made.facts["parameters"] == pytest.approx(aim, rel=0.02)
    network = crowd.network("shanghaitech_a", name, int(made.facts["width"]))
    (middle,) = {type(m.conv2) for m in network.modules() if isinstance(m, DynamicBottleneck)}
    assert middle.__name__ == CONVOLUTIONS[name].path.rpartition(".")[2]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_counters_are_alike_whatever_they_count() -> None:
    assert len({parameters(partial(network_in, config)) for config in crowd.CONFIGS.values()}) == 1
    widths = {tuple(network_in(config).backbone.bn1.weight.shape) for config in crowd.CONFIGS.values()}
    assert widths == {(crowd.PLAIN_WIDTHS[0],)}


def test_sizes_of_heads_are_what_was_drawn_or_their_spacing(tmp_path: Path) -> None:
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [3.0, 4.0]])
    write_shanghaitech(tmp_path, train=1, test=1)
    data = ShanghaiTechDataModule(str(tmp_path))
    batch = replace_points(data.test_samples()[0], points)
    assert crowd.head_sizes(batch, data) == pytest.approx([(3 + 4 + 5) / 3] * 4)
    assert crowd.head_sizes(replace_points(batch, points[:3]), data) is None
    drawn = SyntheticCrowdDataModule(str(tmp_path), num_train=1, num_test=1, height=96, width=128, max_heads=30)
    sample = drawn.test_samples()[0]
    sizes = crowd.head_sizes(sample, drawn)
    assert sizes is not None
    assert len(sizes) == len(sample.points[0])


def test_correlations_are_those_of_the_network_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options of the study may have changed it; loaded into the configuration's, its weights would fit in part."""
    trained = crowd.network("synthetic", "ACDA", 8)
    config = yaml.safe_load((ROOT / crowd.CONFIGS["synthetic"]).read_text())
    config["model"]["init_args"]["network"]["init_args"]["backbone"]["init_args"]["widths"] = [
        *crowd.PLAIN_WIDTHS,
        8,
        16,
    ]
    (tmp_path / "config_fit.yaml").write_text(yaml.safe_dump({**config, "seed_everything": 0}))
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "best.ckpt")
    looked_at: list[dict[str, torch.Tensor]] = []

    def correlate(counter: nn.Module, data: ShanghaiTechDataModule) -> records.Row:
        looked_at.append({name: values.clone() for name, values in counter.state_dict().items()})
        return {"layer": len(looked_at)}

    monkeypatch.setattr(crowd, "find_best_checkpoint", lambda run: run / "best.ckpt")
    monkeypatch.setattr(crowd, "correlate_scale_and_size", correlate)
    tried = crowd.candidate("synthetic", "ACDA")
    assert crowd.figure_7(tried, tmp_path) == {"layer, untrained": 1, "layer, trained": 2}
    untrained, after = looked_at
    expected = trained.state_dict()
    assert after.keys() == expected.keys()
    assert all(after[name].equal(expected[name]) for name in expected)
    assert not untrained["backbone.conv1.weight"].equal(expected["backbone.conv1.weight"])


def replace_points(batch: CrowdBatch, points: torch.Tensor) -> CrowdBatch:
    return batch._replace(points=[points])
