"""Presets run, and compose with every experiment."""

import csv
from pathlib import Path

import pytest
import yaml

import cli
from tests.configs.small_data import CONFIGS, EXPERIMENTS


@pytest.mark.parametrize(
    "preset",
    ["bf16", "cpu", "debug", "ema", "overfit", "profile", pytest.param("compile", marks=pytest.mark.slow)],
)
def test_presets_run_with_an_experiment(preset: str, tmp_path: Path) -> None:
    """Those that need no GPU."""
    files = (CONFIGS / "digits/lenet_acda.yaml", CONFIGS / f"trainer/{preset}.yaml")
    arguments = [argument for file in files for argument in ("--config", str(file))]
    arguments += [f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu"]
    arguments += ["--data.init_args.batch_size=64", "--trainer.log_every_n_steps=1"]
    if preset not in ("debug", "overfit"):
        arguments += ["--trainer.max_epochs=1", "--trainer.num_sanity_val_steps=0"]
        arguments += [f"--trainer.limit_{stage}_batches=2" for stage in ("train", "val", "test")]
    cli.main(["fit", *arguments])
    (run,) = tmp_path.glob("version_*")
    with (run / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    checkpoints = {path.name for path in run.glob("checkpoints/*.ckpt")}
    if preset == "overfit":
        assert len(losses) == 4 * 20
        assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
        assert not checkpoints
        return
    assert losses
    assert "last.ckpt" in checkpoints
    cli.main(["test", *arguments, "--ckpt_path=last"])
    assert "test/top1_error" in (run / "test" / "metrics.csv").read_text()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_presets_compose_with_every_experiment(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All presets at once: every key is known, and the experiment keeps its model, its data and its callbacks."""
    presets = sorted((CONFIGS / "trainer").glob("*.yaml"))
    arguments = [argument for file in (CONFIGS / experiment, *presets) for argument in ("--config", str(file))]
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", *arguments, "--print_config"])
    assert not ended.value.code
    merged = yaml.safe_load(capsys.readouterr().out)
    config = yaml.safe_load((CONFIGS / experiment).read_text())
    assert merged["model"]["init_args"]["compile_network"] is True
    assert merged["trainer"]["sync_batchnorm"] is True
    callbacks = [*config["trainer"].get("callbacks", []), "EMAWeightAveraging"]
    for given, wanted in zip(merged["trainer"]["callbacks"], callbacks, strict=True):
        name = wanted if isinstance(wanted, str) else wanted["class_path"]
        assert given["class_path"].rpartition(".")[2] == name.rpartition(".")[2]
    for key in ("model", "data"):
        assert merged[key]["class_path"].endswith(config[key]["class_path"].rpartition(".")[2])
    assert merged["checkpoint"]["monitor"] == config["checkpoint"]["monitor"]
