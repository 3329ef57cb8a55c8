"""Every experiment under configs/ runs fit, test and predict through the command line, on small data of its layout."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import cli
from datamodules.classification.imagenet_chunks import convert
from lit_modules.output import png_path
from tests.support.crowd_files import write_shanghaitech, write_ucf_qnrf
from tests.support.image_files import write_cifar10, write_cifar100, write_imagenet, write_images
from tests.support.pages import Page
from tests.support.restoration_files import write_pairs, write_realsr, write_sidd

CONFIGS = Path(__file__).parent.parent / "configs"
EXPERIMENTS = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.glob("*/*.yaml") if p.parent.name != "trainer")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_cifar10(folder, seed=0, per_file=20)
    write_cifar100(folder, seed=0, train=1000, test=100)
    write_imagenet(folder / "imagenet", seed=0)
    convert(str(folder / "imagenet"), str(folder / "imagenet_chunks"))
    write_imagenet(folder / "imagenet_as_published", raw_val=True, seed=0)
    write_shanghaitech(folder / "shanghaitech", "A", seed=0)
    write_shanghaitech(folder / "shanghaitech", "B", seed=0)
    write_ucf_qnrf(folder / "ucf_qnrf", seed=0)
    write_realsr(folder / "realsr", seed=0)
    write_sidd(folder / "sidd", seed=0)
    write_pairs(folder / "pairs", seed=0)
    write_pairs(folder / "grey_pairs", seed=0, channels=1)
    return folder


@pytest.fixture(scope="session")
def own_images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A folder of a user's own images, and their ids."""
    folder = tmp_path_factory.mktemp("own_images")
    return folder, set(write_images(folder, seed=0))


IMAGENET = {"total_batch_size": 4, "num_workers": 0, "resize_size": 72, "crop_size": 64}
OWN_CLASSES = {"batch_size": 4, "num_workers": 0, "resize_size": 72, "crop_size": 64}
CROWD = {"batch_size": 2, "crop_size": 64, "crops_per_image": 1, "num_workers": 0}
RESTORATION = {"batch_size": 2, "patch_size": 24, "patches_per_image": 2, "num_workers": 0}
OWN = {"val_fraction": 0.3, "test_fraction": 0.3, "predict_upscale": 1}
PLACES = {
    "StreamingImageNetDataModule": "url",
    "LabelledImagesDataModule": "images_dir",
    "PointsDataModule": "images_dir",
    "PairedFoldersDataModule": "degraded_dir",
    "CleanPhotosDataModule": "clean_dir",
}
"""Arguments that say where the data is, where it is not ``data_dir``."""
# By data module: the folder of its test data, and what keeps an experiment small.
SMALL: dict[str, tuple[str, dict[str, object]]] = {
    "PatternsDataModule": ("", {"steps_per_epoch": 2}),
    "DigitsDataModule": ("", {"batch_size": 16}),
    "TexturesDataModule": ("", {"batch_size": 16}),
    "CIFAR10DataModule": (".", {"batch_size": 16, "num_workers": 0}),
    "CIFAR100DataModule": (".", {"batch_size": 16, "num_workers": 0}),
    "ImageNetDataModule": ("imagenet", IMAGENET),
    "StreamingImageNetDataModule": ("imagenet_chunks", IMAGENET),
    "ShanghaiTechDataModule": ("shanghaitech", CROWD),
    "UCFQNRFDataModule": ("ucf_qnrf", {**CROWD, "resize": "fit_1024"}),  # theirs makes small images large
    "SyntheticCrowdDataModule": (
        "synthetic_crowd",
        {**CROWD, "num_train": 6, "num_test": 3, "height": 96, "width": 128, "max_heads": 30},
    ),
    "LabelledImagesDataModule": ("imagenet/train", OWN_CLASSES),
    "PointsDataModule": ("shanghaitech/part_A/train_data/images", {**CROWD, "val_fraction": 0.3, "test_fraction": 0.3}),
    "RealSRDataModule": ("realsr", {**RESTORATION, "val_fraction": 0.2, "predict_upscale": 1}),
    "SIDDDataModule": ("sidd", {**RESTORATION, "val_fraction": 0.25, "block_size": 32}),
    "SamplePhotosDataModule": ("sample_photos", RESTORATION),
    "PairedFoldersDataModule": ("pairs/degraded", {**RESTORATION, **OWN}),
    "CleanPhotosDataModule": ("pairs/clean", {**RESTORATION, **OWN}),
}


def data_arguments(config: dict, data_dir: Path, own_images: tuple[Path, set[str]]) -> list[str]:
    """What points an experiment at the test data and keeps it small."""
    name = config["data"]["class_path"].rpartition(".")[2]
    folder, sizes = SMALL[name]
    arguments = [f"--data.init_args.{key}={value}" for key, value in sizes.items()]
    if folder:
        arguments.append(f"--data.init_args.{PLACES.get(name, 'data_dir')}={data_dir / folder}")
    if name == "PairedFoldersDataModule":
        arguments.append(f"--data.init_args.clean_dir={data_dir / 'pairs' / 'clean'}")
    if name == "PointsDataModule":
        arguments.append(f"--data.init_args.annotations={data_dir / 'shanghaitech/part_A/train_data/ground-truth'}")
    if name in ("PairedFoldersDataModule", "CleanPhotosDataModule"):
        arguments.append(f"--data.init_args.cache_dir={data_dir / 'converted'}")
    if config["data"]["init_args"].get("channels") == 1:
        grey = data_dir / "grey_pairs" / "clean"
        arguments += [f"--data.init_args.{key}={grey}" for key in ("clean_dir", "test_clean_dir")]
        arguments = [argument for argument in arguments if "test_fraction" not in argument]
    if config["data"]["init_args"].get("scene"):
        arguments.append("--data.init_args.scene=null")
    if name != "PatternsDataModule":
        arguments.append(f"--data.init_args.predict_dir={own_images[0]}")
    if name.endswith(("ImageNetDataModule", "LabelledImagesDataModule")):
        arguments += [f"--model.init_args.{key}=5" for key in ("num_classes", "network.init_args.num_classes")]
        arguments += ["--model.init_args.optimizer.init_args.lr=0.001"]  # theirs is for batches of 256
    return arguments


# One for each data set and task is run at once, those that differ from it in the network or the split are slow tests.
QUICK = {
    *("toy/acda.yaml", "digits/lenet.yaml", "textures/ad_resnet.yaml", "cifar10/lenet_acda.yaml"),
    *("cifar100/lenet.yaml", "imagenet/ad_resnet_s.yaml", "crowd/synthetic_conv2d.yaml"),
    *("crowd/shanghaitech_a_ad_resnet_s_conv2d.yaml"),
    *("realsr/vdsr.yaml", "sidd/dncnn.yaml", "sidd/vdn.yaml", "sample_photos/denoising_conv2d.yaml"),
    *(
        "pretrained/denoise_gaussian.yaml",
        "own/restoration_pairs.yaml",
        "own/denoising.yaml",
        "own/super_resolution.yaml",
    ),
}


@pytest.mark.parametrize(
    "experiment", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in EXPERIMENTS]
)
def test_experiment_fits_tests_and_predicts(
    experiment: str, data_dir: Path, own_images: tuple[Path, set[str]], tmp_path: Path
) -> None:
    path = CONFIGS / experiment
    config = yaml.safe_load(path.read_text())
    grey = config["data"]["init_args"].get("channels") == 1
    if grey:
        folder = data_dir / "grey_pairs" / "degraded"
        own_images = folder, {path.name for path in folder.iterdir()}
    arguments = ["--config", str(path), f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu"]
    arguments += data_arguments(config, data_dir, own_images)
    if experiment == "crowd/ucf_qnrf_ad_resnet_s_conv2d.yaml":  # one of them by the rule that holds for all
        arguments.append("--data.init_args.resize=short_512_2048")
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.limit_val_batches=3"]
    cli.main(["fit", *arguments, *short, "--trainer.check_val_every_n_epoch=1"])
    cli.main(["test", *arguments, "--ckpt_path=best", "--trainer.limit_test_batches=3"])
    cli.main(["predict", *arguments, "--ckpt_path=best"])

    (run,) = tmp_path.glob("version_*")
    monitored = config["checkpoint"]["monitor"]
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    (saved,) = (state for key, state in checkpoint["callbacks"].items() if "Checkpoint" in key)
    assert saved["monitor"] == monitored
    assert torch.isfinite(saved["best_model_score"])
    test_metrics = (run / "test" / "metrics.csv").read_text().splitlines()[0]
    assert monitored.replace("val/", "test/") in test_metrics.split(",")
    checked = check_grey if grey else CHECKS[config["model"]["class_path"].rpartition(".")[2]]
    checked(run / "predict", own_images[1])
    assert Page(run / "predict" / "index.html").ids


ONE_EACH = {
    yaml.safe_load((CONFIGS / name).read_text())["data"]["class_path"].rpartition(".")[2]: name
    for name in [
        *(*EXPERIMENTS, "digits/lenet.yaml", "cifar10/lenet_acda.yaml", "cifar100/lenet.yaml"),
        *("own/denoising.yaml", "sample_photos/denoising_acda.yaml"),
    ]
}
"""An experiment for each data module."""
CHECKED_QUICKLY = ("DigitsDataModule", "CIFAR10DataModule", "ImageNetDataModule", "UCFQNRFDataModule", "SIDDDataModule")


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=() if name in CHECKED_QUICKLY else pytest.mark.slow) for name in ONE_EACH]
)
def test_data_is_checked(
    module: str,
    data_dir: Path,
    own_images: tuple[Path, set[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is wrong with it, and as many images are counted as each split has samples, or pairs with patches."""
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((CONFIGS / ONE_EACH[module]).read_text())
    arguments = [x for x in data_arguments(config, data_dir, own_images) if x.startswith("--data")]
    if module == "TexturesDataModule":  # which takes its time to draw them
        arguments += [f"--data.init_args.num_{split}={count}" for split, count in IMAGES[module].items()]
    Path("data.yaml").write_text(yaml.safe_dump({"data": config["data"]}))
    cli.main(["check", "--config", "data.yaml", *arguments])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Contact sheet: runs/check/check.png"
    counted = {line.split()[0]: int(line.split()[1].replace(",", "")) for line in lines[1:4]}
    assert counted == IMAGES[module]
    with Image.open("runs/check/check.png") as sheet:
        assert sheet.width == 1280


IMAGES = {
    name: dict(zip(("train", "val", "test"), counts, strict=True))
    for name, counts in {
        "CIFAR10DataModule": (90, 10, 20),
        "CIFAR100DataModule": (900, 100, 100),
        "ShanghaiTechDataModule": (11, 1, 4),
        "SyntheticCrowdDataModule": (5, 1, 3),
        "UCFQNRFDataModule": (5, 1, 4),
        "DigitsDataModule": (899, 359, 539),
        "ImageNetDataModule": (35, 20, 20),
        "StreamingImageNetDataModule": (35, 20, 20),
        "LabelledImagesDataModule": (24, 5, 6),
        "PointsDataModule": (6, 2, 4),
        "CleanPhotosDataModule": (2, 2, 2),
        "PairedFoldersDataModule": (2, 2, 2),
        "RealSRDataModule": (8, 2, 4),
        "SIDDDataModule": (8, 2, 6),
        "SamplePhotosDataModule": (20, 8, 12),
        "TexturesDataModule": (40, 20, 30),
        "PatternsDataModule": (1, 1, 1),
    }.items()
}
"""How many the writers write, by split."""


def check_maps(results: Path, ids: set[str]) -> None:
    """The patterns are made, no image of the user's is read."""
    assert {p.name for p in (results / "predictions").iterdir()} == {f"patterns_seed0.{s}" for s in ("npy", "png")}


def check_classes(results: Path, ids: set[str]) -> None:
    """Every image has a probability for each class, and the class with the highest."""
    with (results / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == ids
    for row in rows:
        probabilities = {
            k.removeprefix("probability_"): float(v) for k, v in row.items() if k.startswith("probability_")
        }
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert probabilities[row["class_name"]] == max(probabilities.values())


def check_counts(results: Path, ids: set[str]) -> None:
    """Every image has a count, a picture, and its heads or objects in two forms, and those of annotation tools."""
    with (results / "counts.csv").open() as file:
        counts = {row["id"]: float(row["predicted"]) for row in csv.DictReader(file)}
    assert counts.keys() == ids
    assert all(count >= 0 for count in counts.values())
    (kind,) = {path.name.split(".")[-2] for path in (results / "predictions").rglob("*.json")}
    own = "PointsDataModule" in (results / "config_predict.yaml").read_text()
    assert kind == ("objects" if own else "heads")
    found = 0
    for name in ids:
        assert (results / "predictions" / f"{name}.png").is_file()
        with (results / "predictions" / f"{name}.{kind}.csv").open() as file:
            objects = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
        listed = json.loads((results / "predictions" / f"{name}.{kind}.json").read_text())
        assert listed["category"] == kind
        assert [(each["x"], each["y"]) for each in listed[kind]] == pytest.approx(objects, abs=0.01)
        found += len(objects)
    coco = json.loads((results / "coco.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == ids
    assert len(coco["annotations"]) == found
    assert len(list((results / "labelme").rglob("*.json"))) == len(ids)


def check_restored(results: Path, ids: set[str]) -> None:
    """Every image is restored to one of its own size, with as many bits and channels as it has."""
    folder = results / "predictions"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        png_path(Path(), name).as_posix() for name in ids
    }
    grey, deep = (Image.open(folder / name) for name in ("grey.png", "grey16.png"))
    assert (grey.mode, grey.size) == ("L", (16, 9))
    assert (deep.mode, deep.size) == ("I;16", (12, 7))
    assert Image.open(folder / "rgb.png").size == (14, 11)


def check_grey(results: Path, ids: set[str]) -> None:
    """Every grey image is restored to a grey one."""
    restored = list((results / "predictions").iterdir())
    assert {path.name for path in restored} == ids
    assert all(Image.open(path).mode == "L" for path in restored)


CHECKS = {
    "PatternTask": check_maps,
    "ClassificationTask": check_classes,
    "CountingTask": check_counts,
    "RestorationTask": check_restored,
    "VariationalTask": check_restored,
}


@pytest.mark.slow
def test_imagenet_as_published_gives_what_class_folders_give(
    data_dir: Path, own_images: tuple[Path, set[str]], tmp_path: Path
) -> None:
    """A flat ``val/`` with the development kit: the same images and labels, and so the same errors; it predicts too."""
    path = CONFIGS / "imagenet" / "ad_resnet_s.yaml"
    arguments = ["--config", str(path), f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu"]
    arguments += data_arguments(yaml.safe_load(path.read_text()), data_dir, own_images)
    cli.main(["fit", *arguments, "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"])
    rows = []
    for layout in ("imagenet", "imagenet_as_published"):
        cli.main(["test", *arguments, "--ckpt_path=best", f"--data.init_args.data_dir={data_dir / layout}"])
        newest = max((tmp_path / "version_0").glob("test*"), key=lambda folder: folder.stat().st_mtime)
        with (newest / "metrics.csv").open() as file:
            rows.append(list(csv.DictReader(file))[-1])
    assert rows[0]["test/top1_error"] == rows[1]["test/top1_error"]
    assert float(rows[0]["test/loss"]) == pytest.approx(float(rows[1]["test/loss"]), rel=1e-5)
    published = f"--data.init_args.data_dir={data_dir / 'imagenet_as_published'}"
    cli.main(["predict", *arguments, "--ckpt_path=best", published])
    with (tmp_path / "version_0" / "predict" / "predictions.csv").open() as file:
        assert {row["id"] for row in csv.DictReader(file)} == own_images[1]


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


@pytest.mark.parametrize("dataset", ["toy", "digits", "cifar10", "cifar100"])
def test_methods_differ_in_their_convolution_alone(dataset: str) -> None:
    """A comparison between the two is one of the layers and of nothing else."""
    names = ("conv", "acda") if dataset == "toy" else ("lenet", "lenet_acda")
    plain, adaptive = (yaml.safe_load((CONFIGS / dataset / f"{name}.yaml").read_text()) for name in names)
    for config in (plain, adaptive):
        config["model"]["init_args"]["network"]["init_args"].pop("conv")
        config["trainer"].pop("default_root_dir")
    assert plain == adaptive
