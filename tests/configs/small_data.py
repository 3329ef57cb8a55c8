"""The experiments there are, and the arguments that point one at small data and keep it small."""

import copy
import json
from pathlib import Path

CONFIGS = Path(__file__).parents[2] / "configs"
EXPERIMENTS = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.glob("*/*.yaml") if p.parent.name != "trainer")

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
    mixed = copy.deepcopy(config["data"]["init_args"].get("mix_with", []))
    for module in mixed:
        folders = {"clean_dir": str(data_dir / "pairs" / "clean"), "cache_dir": str(data_dir / "converted")}
        small = {
            "patch_size": sizes["patch_size"],
            "val_fraction": 0.3,
            "test_fraction": 0.3,
            "scene": None,
            "shrink": 1,
        }
        module["init_args"] |= {**folders, **small, "patches_per_image": 2}
    if mixed:
        arguments.append(f"--data.init_args.mix_with={json.dumps(mixed)}")
    if config["data"]["init_args"].get("scene"):
        arguments.append("--data.init_args.scene=null")
    if name != "PatternsDataModule":
        arguments.append(f"--data.init_args.predict_dir={own_images[0]}")
    if name.endswith(("ImageNetDataModule", "LabelledImagesDataModule")):
        arguments += [f"--model.init_args.{key}=5" for key in ("num_classes", "network.init_args.num_classes")]
        arguments += ["--model.init_args.optimizer.init_args.lr=0.001"]  # theirs is for batches of 256
    return arguments
