"""Weights that come with the project, named where a checkpoint is: everything else is in their file."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from acda.models import pretrained
from acda.models.weight_files import FOLDER_VARIABLE
from tests.cli.conftest import Refuse, run
from tests.support.pages import Page
from tests.support.weights import CONFIGS, write_weights


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "their_weights"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    write_weights(folder, "restorer")
    return folder


def write_photographs(folder: Path, count: int = 2, height: int = 90, width: int = 130) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), random.integers(0, 256, (height, width, 3), np.uint8))


def test_predict_needs_nothing_but_the_name_and_photographs() -> None:
    write_photographs(Path("my_photos"))
    for times in ("predict", "predict_1"):
        run("predict", "--ckpt_path=pretrained:restorer", "--data.init_args.predict_dir=my_photos")
        folder = Path("runs", "pretrained", "restorer", times)
        network = pretrained("restorer")
        for number in range(2):
            came = cv2.imread(f"my_photos/{number}.png")[..., ::-1].copy()
            with torch.no_grad():
                image = torch.from_numpy(came).permute(2, 0, 1)[None] / 255
                expected = (network(image)[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            restored = cv2.imread(str(folder / "predictions" / f"{number}.png"))[..., ::-1]
            # in tiles of 64 here: a value that lies between two levels may go to either
            assert np.abs(restored.astype(int) - expected).max() <= 1
            assert (restored != came).any()


@pytest.mark.slow
def test_what_the_user_writes_wins() -> None:
    write_photographs(Path("my_photos"))
    options = ["--data.init_args.predict_dir=my_photos", "--model.init_args.self_ensemble=true"]
    run("predict", "--ckpt_path=pretrained:restorer", *options, "--trainer.default_root_dir=elsewhere")
    config = Path("elsewhere", "pretrained", "restorer", "predict", "config_predict.yaml").read_text()
    assert "self_ensemble: true" in config
    assert "tile: 64" in config


@pytest.mark.slow
def test_export_writes_the_network() -> None:
    run("export", "--ckpt_path=pretrained:restorer")
    program = torch.export.load("runs/pretrained/restorer/export/model.pt2")
    image = torch.rand(1, 3, 40, 52)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(image), pretrained("restorer")(image), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_test_takes_the_data_of_the_file() -> None:
    run("test", "--ckpt_path=pretrained:restorer", "--trainer.limit_test_batches=1")
    with Path("runs", "pretrained", "restorer", "test", "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "3"  # that of the file
    assert 0 < float(row["test/psnr"]) < 60


@pytest.mark.slow
def test_a_file_is_named_by_its_path_too(weights: Path) -> None:
    run("export", f"--ckpt_path={weights / 'restorer.safetensors'}")
    assert Path("runs/pretrained/restorer/export/model.pt2").is_file()


def test_warm_start_takes_a_name(caplog: pytest.LogCaptureFixture) -> None:
    write_photographs(Path("photographs"), 4)
    arguments = {"clean_dir": "photographs", "patch_size": 16, "patches_per_image": 1, "num_workers": 0}
    shares = {"val_fraction": 0.3, "test_fraction": 0.3}
    data = {"class_path": "datamodules.CleanPhotosDataModule", "init_args": {**arguments, **shares}}
    config = {"trainer": {"accelerator": "cpu", "max_steps": 1}, "model": CONFIGS["restorer"]["model"], "data": data}
    Path("restorer.yaml").write_text(json.dumps(config))
    options = ["--trainer.limit_val_batches=0", "--trainer.default_root_dir=runs/w"]
    start = ["--trainer.callbacks+=WarmStart", "--trainer.callbacks.weights=pretrained:restorer"]
    run("fit", "--config", "restorer.yaml", *options, *start)
    total = len(pretrained("restorer").state_dict())
    assert f"pretrained:restorer: loaded {total} of the network's {total} tensors" in caplog.text


def test_an_unknown_name_is_told_in_a_line(refuse: Refuse, weights: Path) -> None:
    for subcommand in ("predict", "test", "export"):
        (line,) = refuse(subcommand, "--ckpt_path=pretrained:restored")
        assert line.endswith(f"pretrained:restored: no such weights in {weights}; there are restorer")


def test_a_damaged_file_is_named(refuse: Refuse, weights: Path) -> None:
    path = weights / "restorer.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    (line,) = refuse("predict", "--ckpt_path=pretrained:restorer")
    assert f"weights '{path}' cannot be read" in line
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 0x40]))
    (line,) = refuse("predict", "--ckpt_path=pretrained:restorer")
    assert f"weights '{path}' are damaged" in line


def test_a_network_that_does_not_fit_says_what_differs(refuse: Refuse) -> None:
    lines = refuse("predict", "--ckpt_path=pretrained:restorer", "--model.init_args.network.init_args.width=8")
    assert "do not fit RestorationTask(network=Restorer" in lines[0]
    assert "other shape: " in lines[1]


def test_no_training_goes_on_from_it(refuse: Refuse) -> None:
    (first, *_) = refuse("fit", "--ckpt_path=pretrained:restorer", "--data.init_args.patch_size=16")
    assert "holds weights alone" in first
    assert "WarmStart" in first


def test_a_configuration_that_names_other_things_is_refused(refuse: Refuse, weights: Path) -> None:
    path = weights / "restorer.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    config["data"] = {"class_path": "os.system", "init_args": {"command": "touch was_here"}}
    save_file(tensors, path, metadata | {"config": json.dumps(config)})
    (line, *_) = refuse("predict", "--ckpt_path=pretrained:restorer")
    assert "os.system is nothing that a configuration is made of" in line
    assert not Path("was_here").exists()


ODD = ("a b.png", "50%.png", "#1.png", "Größe/東京.png", "a&b<i>.png")


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_every_prediction_has_a_page(name: str, weights: Path) -> None:
    write_weights(weights, name)
    random = np.random.default_rng(0)
    for photograph in ODD:
        path = Path("my photos", photograph)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (90, 600, 3), np.uint8)).save(path)
    Path("my photos", "broken.png").write_bytes(b"nothing")
    with pytest.raises(SystemExit):  # for one of them is broken
        run("predict", f"--ckpt_path=pretrained:{name}", "--data.init_args.predict_dir=my photos")
    page = Page(Path("runs", "pretrained", name, "predict", "index.html"))
    assert sorted(page.ids) == sorted(ODD)
    assert ("failed.csv", "failed.csv: inputs that failed") in page.links
    linked = {page.file(address).name for address, _ in page.links}
    if name == "restorer":
        assert len(page.images) == 4 * len(ODD)
        assert linked == {"failed.csv", *(Path(photograph).name for photograph in ODD)}
        assert any(text.startswith("600 × 90 pixels, ") and text.endswith(" s a megapixel") for text in page.texts)
    elif name == "counter":
        assert len(page.images) == 2 * len(ODD)
        assert {"counts.csv", "coco.json", "a b.png.heads.csv", "東京.png.png"} <= linked
        assert any(text.startswith("heads: ") for text in page.texts)
    else:
        assert len(page.images) == len(ODD)
        assert "predictions.csv" in linked
        assert len(page.meters) == 5 * len(ODD)
        assert {text for text in page.texts if text.startswith("kind ")} <= {f"kind {n}" for n in range(10)}
