"""The command that makes files of weights: what it leaves behind, and that it goes on where it stopped."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from acda.models import list_pretrained, pretrained
from acda.models.weight_files import FOLDER_VARIABLE, read_weight_file, weights_folder
from benchmarks.machine import ROOT
from benchmarks.studies import cards, pretrain
from benchmarks.studies.recipes import RECIPES, Recipe, Stage
from lit_modules.runs.checkpoints import read_checkpoint
from tests.support.image_files import write_cifar10
from tests.support.weights import CONFIGS

COMMITTED = ROOT / "weights"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return tmp_path


def tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of two stages that trains a tiny restorer on small photographs for two steps each."""
    random = np.random.default_rng(0)
    photographs = folder / "data" / "photographs"
    photographs.mkdir(parents=True)
    for number in range(6):
        cv2.imwrite(str(photographs / f"{number}.png"), random.integers(0, 256, (40, 48, 3), np.uint8))
    arguments = {"clean_dir": "data/nowhere", "patch_size": 16, "patches_per_image": 16, "num_workers": 0}
    noise = {"class_path": "datamodules.restoration.degradations.GaussianNoise", "init_args": {"sigma": [5, 50]}}
    shares = {"val_fraction": 0.3, "test_fraction": 0.3, "cache_dir": str(folder / "converted")}
    data = {
        "class_path": "datamodules.CleanPhotosDataModule",
        "init_args": {**arguments, **shares, "degradation": noise},
    }
    config = {
        "model": CONFIGS["restorer"]["model"],
        "data": data,
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2, "log_every_n_steps": 1},
        "checkpoint": {"monitor": "val/psnr", "mode": "max"},
    }
    (folder / "first.yaml").write_text(yaml.safe_dump(config))
    mixed = {"class_path": data["class_path"], "init_args": {**data["init_args"]}}
    data["init_args"]["mix_with"] = [mixed]
    (folder / "second.yaml").write_text(yaml.safe_dump(config))
    sigma = "--data.init_args.degradation.init_args.sigma"
    recipe = Recipe(
        task="noise removed from noise",
        stages=[
            Stage(str(folder / "first.yaml"), {"clean_dir": "photographs"}),
            Stage(str(folder / "second.yaml"), {"clean_dir": "photographs"}, mixed="photographs"),
        ],
        metrics={"test/psnr": 2, "test/psnr_input": 2},
        tests={f"noise of {value}": [f"{sigma}={value}", "--trainer.accelerator=cpu"] for value in (10,)},
        data="random pixels",
        licence="none is needed",
        limits="Anything.",
    )
    monkeypatch.setitem(RECIPES, "cifar10", recipe)  # a name that the command takes
    return recipe


@pytest.mark.slow
def test_a_name_becomes_a_file_rows_and_a_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny(folder, monkeypatch)
    table = folder / "pretrained.csv"
    table.write_text("name,held_out,test/psnr,commit\nother,theirs,7.5,abc\n")
    command = ["cifar10", f"--data={folder / 'data'}", f"--runs={folder / 'runs'}", f"--csv={table}"]
    pretrain.main(command)
    file = read_weight_file(folder / "weights" / "cifar10.safetensors")
    assert str(folder) not in json.dumps([file.config, file.facts])
    assert file.config["data"]["init_args"]["clean_dir"] == "data/photographs"
    assert "mix_with" not in file.config["data"]["init_args"]
    assert file.config["model"]["init_args"]["tile"] == 64
    assert file.facts["step"] == 2

    # what was tested is what was trained
    best = next((folder / "runs" / "cifar10" / "second").glob("version_0/checkpoints/epoch*.ckpt"))
    trained = read_checkpoint(best)["state_dict"]
    half = file.facts["precision"] == "half"
    for key, value in pretrained("cifar10").state_dict().items():
        expected = trained[f"network.{key}"]
        expected = expected.half().float() if half and expected.is_floating_point() and expected.dim() > 1 else expected
        assert torch.equal(value, expected), key
    first = next((folder / "runs" / "cifar10" / "first").glob("version_0/checkpoints/epoch*.ckpt"))
    config = yaml.safe_load((best.parents[1] / "config_fit.yaml").read_text())
    assert config["trainer"]["callbacks"][0]["init_args"]["weights"] == str(first)

    # noise of σ alone has a PSNR of 20 log(255 / σ), but for clipping, which only makes it better
    metrics = file.facts["metrics"]
    assert metrics["noise of 10"]["test/psnr_input"] == pytest.approx(20 * np.log10(255 / 10), abs=0.5)
    with table.open() as rows:
        found = {(row["name"], row["held_out"]): row for row in csv.DictReader(rows)}
    assert set(found) == {("other", "theirs"), ("cifar10", "noise of 10")}
    assert found["other", "theirs"]["commit"] == "abc"
    own = found["cifar10", "noise of 10"]
    assert float(own["test/psnr"]) == metrics["noise of 10"]["test/psnr"]
    assert int(own["bytes"]) == file.path.stat().st_size
    assert own["torch"] == torch.__version__
    assert own["commit"] == file.facts["commit"]

    card = (folder / "weights" / "README.md").read_text()
    assert card == cards.make_cards()
    assert f"| noise of 10 | {metrics['noise of 10']['test/psnr']:g} |" in card
    for words in ("random pixels", "none is needed", "**Not good for**: Anything.", "pretrain cifar10`"):
        assert words in card

    self_ensemble = [*recipe.tests["noise of 10"], "--model.init_args.self_ensemble=true"]
    tests = {**recipe.tests, "the mean of eight": self_ensemble}
    monkeypatch.setitem(RECIPES, "cifar10", recipe._replace(tests=tests, task="anything else"))
    pretrain.main([*command, "--score"])
    scored = read_weight_file(file.path)
    assert {**scored.facts, "metrics": None} == {**file.facts, "metrics": None}
    assert scored.config == file.config
    assert all(torch.equal(value, file.tensors[key]) for key, value in scored.tensors.items())
    assert scored.facts["metrics"].keys() == tests.keys()
    assert scored.facts["metrics"]["noise of 10"] == metrics["noise of 10"]
    with table.open() as rows:
        assert [row["held_out"] for row in csv.DictReader(rows)] == [*tests, "theirs"]
    assert "| the mean of eight | " in (folder / "weights" / "README.md").read_text()

    def never(command: list[str]) -> None:
        raise AssertionError("was trained again")

    monkeypatch.setattr(pretrain, "_run", never)
    places = pretrain.Places(folder / "data", folder / "runs" / "cifar10", table)
    assert pretrain.train(recipe.stages[0], None, places, []) == first


def test_only_what_is_there_is_scored(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="pretrained:cifar10: no weights in"):
        pretrain.main(["cifar10", "--score", f"--runs={folder}"])
    with pytest.raises(SystemExit):
        pretrain.main(["cifar10", "--score", "--trainer.max_epochs=3"])
    assert "--score trains nothing, got --trainer.max_epochs=3" in capsys.readouterr().err


def test_an_interrupted_training_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage("configs/x/one.yaml", {"data_dir": "there"})
    places = pretrain.Places(folder / "data", folder / "runs", folder / "t.csv")
    last = places.runs / "one" / "version_0" / "checkpoints" / "last.ckpt"
    commands: list[list[str]] = []

    def interrupted(command: list[str]) -> None:
        commands.append(command)
        last.parent.mkdir(parents=True, exist_ok=True)
        last.touch()
        raise SystemExit(130)

    monkeypatch.setattr(pretrain, "_run", interrupted)
    for _ in range(2):
        with pytest.raises(SystemExit):
            pretrain.train(stage, None, places, ["--trainer.max_epochs=3"])
    assert f"--data.init_args.data_dir={folder / 'data' / 'there'}" in commands[0]
    assert not [word for word in commands[0] if "ckpt_path" in word]
    assert commands[1] == [*commands[0], "--ckpt_path=last"]
    with pytest.raises(SystemExit, match="was trained by another command"):
        pretrain.train(stage, None, places, ["--trainer.max_epochs=4"])


def test_classes_have_names_in_the_file(folder: Path) -> None:
    write_cifar10(folder / "data", seed=0, per_file=20)
    config = {**CONFIGS["classifier"], "trainer": {}}
    config["data"] = {"class_path": "datamodules.CIFAR10DataModule", "init_args": {"data_dir": str(folder / "data")}}
    state = {"network.a": torch.zeros(2, 2)}
    torch.save(
        {"state_dict": state, "config": yaml.safe_dump(config), "global_step": 5, "epoch": 0}, folder / "one.ckpt"
    )
    content = pretrain.pack(folder / "one.ckpt", Stage("x", {"data_dir": ""}), {}, half=True)
    (folder / "one.safetensors").write_bytes(content)
    stored = read_weight_file(folder / "one.safetensors").config
    assert len(stored["model"]["init_args"]["class_names"]) == 10
    assert stored["data"]["init_args"]["data_dir"] == "data"


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_configurations_and_arguments_that_there_are(name: str) -> None:
    recipe = RECIPES[name]
    for stage in recipe.stages:
        data = yaml.safe_load((ROOT / stage.config).read_text())["data"]["init_args"]
        for argument, path in stage.folders.items():
            assert data.get(argument, f"data/{path}") == str(Path("data", path))
        mixed = [module["init_args"]["clean_dir"] for module in data.get("mix_with", [])]
        assert mixed == ([] if stage.mixed is None else [f"data/{stage.mixed}"])
    for text in (recipe.task, recipe.data, recipe.licence, recipe.limits):
        assert text
    assert recipe.metrics and recipe.tests


def test_committed_files_are_small_and_have_their_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert weights_folder() == COMMITTED
    sizes = {path.name: path.stat().st_size for path in COMMITTED.glob("*.safetensors")}
    assert all(size < pretrain.LARGEST for size in sizes.values())
    assert sum(sizes.values()) < 40_000_000
    card = (COMMITTED / "README.md").read_text(encoding="utf-8")
    assert card == cards.make_cards()
    assert re.findall(r"^## (\S+)$", card, re.MULTILINE) == list_pretrained()
    for name in list_pretrained():
        assert not pretrained(name).training
        file = read_weight_file(COMMITTED / f"{name}.safetensors")
        assert str(ROOT) not in str(file.config) and '"/' not in json.dumps(file.config), "no folder of a machine"
        facts = file.facts
        assert {"task", "data", "licence", "limits", "command", "commit", "metrics", "precision"} <= facts.keys()
        with (ROOT / "benchmarks/results/pretrained.csv").open() as file:
            rows = {row["held_out"]: row for row in csv.DictReader(file) if row["name"] == name}
        assert rows.keys() == facts["metrics"].keys()
        for label, metrics in facts["metrics"].items():
            assert metrics == {metric: float(rows[label][metric]) for metric in metrics}
