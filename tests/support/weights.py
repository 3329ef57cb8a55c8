"""Files of weights of small networks, drawn at random from a seed."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acda.models.stored_networks import build_network
from acda.models.weight_files import encode_weights

CONV = {"class_path": "acda.ACDAConv2d", "init_args": {"norm": {"class_path": "torch.nn.BatchNorm2d"}}}
RESTORER = {
    "class_path": "acda.models.Restorer",
    "init_args": {"conv": CONV, "width": 4, "inner_width": 6, "depth": 1, "kernel_size": 3},
}
COUNTER = {
    "class_path": "acda.models.CrowdCounter",
    "init_args": {
        "backbone": {
            "class_path": "acda.models.AdResNet",
            "init_args": {
                **{"num_classes": None, "conv": CONV, "plain_depths": [1, 1], "dynamic_depths": [1, 1]},
                **{"widths": [4, 4, 4, 8], "small_images": True},
            },
        },
        "widths": [8, 4, 4],
    },
}
LENET = {"class_path": "acda.models.LeNet", "init_args": {"num_classes": 10, "channels": [4, 4], "in_channels": 3}}
CONFIGS: dict[str, dict[str, Any]] = {
    "restorer": {
        "seed_everything": 0,
        "model": {
            "class_path": "lit_modules.RestorationTask",
            "init_args": {"network": RESTORER, "protocol": "sidd", "tile": 64},
        },
        "data": {"class_path": "datamodules.SamplePhotosDataModule", "init_args": {"task": "denoising"}},
    },
    "counter": {
        "seed_everything": 0,
        "model": {"class_path": "lit_modules.CountingTask", "init_args": {"network": COUNTER, "density_scale": 100.0}},
        "data": {"class_path": "datamodules.SyntheticCrowdDataModule", "init_args": {"num_workers": 0}},
    },
    "classifier": {
        "seed_everything": 0,
        "model": {
            "class_path": "lit_modules.ClassificationTask",
            "init_args": {"network": LENET, "num_classes": 10, "class_names": [f"kind {n}" for n in range(10)]},
        },
        "data": {"class_path": "datamodules.CIFAR10DataModule", "init_args": {"num_workers": 0}},
    },
}


def random_network(name: str) -> nn.Module:
    """The network of a configuration, every weight drawn at random, so that it does something."""
    torch.manual_seed(0)
    network = build_network(CONFIGS[name]["model"]["init_args"]["network"])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.05)
    return network.eval()


def write_weights(folder: Path, name: str, half: bool = False, **changes: Any) -> Path:
    """Write ``<folder>/<name>.safetensors``; ``changes`` replace parts of the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**copy.deepcopy(CONFIGS[name]), **changes}
    path = folder / f"{name}.safetensors"
    path.write_bytes(encode_weights(random_network(name).state_dict(), config, {"step": 3, "epoch": 1}, half))
    return path
