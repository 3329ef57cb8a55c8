"""Every experiment under configs/ runs fit, test and predict through the command line, on small data of its layout."""

import csv
from pathlib import Path

import pytest
import torch
import yaml

import cli
from tests.configs.results import CHECKS, check_grey
from tests.configs.small_data import CONFIGS, EXPERIMENTS, data_arguments
from tests.support.pages import Page

# One for each data set and task is run at once, those that differ from it in the network or the split are slow tests.
QUICK = {
    *("toy/acda.yaml", "digits/lenet.yaml", "textures/ad_resnet.yaml", "cifar10/lenet_acda.yaml"),
    *("cifar100/lenet.yaml", "imagenet/ad_resnet_s.yaml", "crowd/synthetic_conv2d.yaml"),
    "crowd/shanghaitech_a_ad_resnet_s_conv2d.yaml",
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


@pytest.mark.parametrize("dataset", ["toy", "digits", "cifar10", "cifar100"])
def test_methods_differ_in_their_convolution_alone(dataset: str) -> None:
    """A comparison between the two is one of the layers and of nothing else."""
    names = ("conv", "acda") if dataset == "toy" else ("lenet", "lenet_acda")
    plain, adaptive = (yaml.safe_load((CONFIGS / dataset / f"{name}.yaml").read_text()) for name in names)
    for config in (plain, adaptive):
        config["model"]["init_args"]["network"]["init_args"].pop("conv")
        config["trainer"].pop("default_root_dir")
    assert plain == adaptive
