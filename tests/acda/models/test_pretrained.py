"""Weights by a name: files that suffice for themselves, and run nothing."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from acda import ACDAConv2d, GroupNorm
from acda.models import CrowdCounter, Restorer, list_pretrained, load_weights, pretrained
from acda.models.stored_networks import build_network
from acda.models.weight_files import FOLDER_VARIABLE, encode_weights, read_weight_file
from tests.configs.small_data import CONFIGS as CONFIG_FILES
from tests.configs.small_data import EXPERIMENTS
from tests.support.weights import CONFIGS, RESTORER, random_network, write_weights


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", CONFIGS)
def test_a_name_gives_the_network_that_was_stored(name: str, folder: Path) -> None:
    write_weights(folder, name)
    network, stored = pretrained(name), random_network(name)
    image = torch.rand(1, 3, 32, 32)
    assert not network.training
    assert type(network) is type(stored)
    with torch.no_grad():
        assert torch.equal(network(image), stored(image))
        assert network(image).abs().max() > 0


def test_nested_arguments_are_networks_or_what_makes_layers(folder: Path) -> None:
    write_weights(folder, "counter")
    network = pretrained("pretrained:counter")
    assert isinstance(network, CrowdCounter)
    assert any(isinstance(module, ACDAConv2d) for module in network.backbone.modules())


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_network_of_every_experiment_can_be_stored(experiment: str) -> None:
    """Layers are made of what stands for a layer, and what makes layers is handed on, whatever form it has."""
    config = yaml.safe_load((CONFIG_FILES / experiment).read_text())["model"]["init_args"]["network"]
    with torch.device("meta"):
        assert isinstance(build_network(config), nn.Module)


@pytest.mark.parametrize("norm", ["acda.GroupNorm", {"class_path": "acda.GroupNorm", "init_args": {"group_size": 2}}])
def test_what_makes_norms_is_handed_on(norm: Any) -> None:
    """To the network, which takes any callable, and within it to ACDA, which takes none, too."""
    conv = {"class_path": "acda.ACDAConv2d", "init_args": {"norm": norm}}
    arguments = {"conv": conv, "norm": norm, "widths": [4, 4, 4, 8], "num_classes": None}
    network = build_network({"class_path": "acda.models.AdResNet", "init_args": arguments})
    norms = [module for module in network.modules() if isinstance(module, GroupNorm)]
    dynamic = [module for module in network.modules() if isinstance(module, ACDAConv2d)]
    assert all(any(isinstance(module, GroupNorm) for module in layer.modules()) for layer in dynamic)
    assert dynamic and len(norms) > 2 * len(dynamic)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if isinstance(norm, dict):
        assert {module.num_channels // module.num_groups for module in norms} == {2}


def test_half_precision_rounds_matrices_and_keeps_vectors(folder: Path) -> None:
    write_weights(folder, "restorer", half=True)
    stored = random_network("restorer").state_dict()
    for key, value in pretrained("restorer").state_dict().items():
        assert value.dtype == stored[key].dtype
        rounded = stored[key].half().to(value.dtype) if value.dim() > 1 else stored[key]
        assert torch.equal(value, rounded), key


def test_an_unknown_name_lists_those_there_are(folder: Path) -> None:
    for name in CONFIGS:
        write_weights(folder, name)
    assert list_pretrained() == sorted(CONFIGS)
    with pytest.raises(ValueError, match=r"pretrained:nothing: no such weights in .*; there are classifier, counter,"):
        pretrained("nothing")
    with pytest.raises(ValueError, match=r"pretrained:\.\./restorer: no such weights"):
        pretrained("../restorer")


def test_without_files_it_says_where_they_are_looked_for(folder: Path) -> None:
    with pytest.raises(ValueError, match=f"no weights in {re.escape(str(folder))}; .*set ACDA_WEIGHTS"):
        pretrained("restorer")


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "value":
        content[-5] ^= 0x40
    elif kind == "header":
        content[40] = 0xFF
    elif kind == "cut":
        content = content[: len(content) // 2]
    elif kind == "empty":
        content = bytearray()
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("kind", ["value", "header", "cut", "empty"])
def test_a_damaged_file_is_named(kind: str, folder: Path) -> None:
    path = write_weights(folder, "restorer")
    damage(path, kind)
    with pytest.raises(ValueError, match=f"weights '{re.escape(str(path))}' (cannot be read|are damaged)"):
        pretrained("restorer")


def test_a_file_of_others_has_no_configuration(folder: Path) -> None:
    save_file({"a": torch.zeros(3)}, folder / "theirs.safetensors")
    with pytest.raises(ValueError, match="hold no configuration of this project's"):
        pretrained("theirs")


@pytest.mark.parametrize("config", ["[]", "{}", "not json", "[" * 5000, json.dumps({"model": {"init_args": []}})])
def test_a_configuration_that_is_none_is_refused(config: str, folder: Path) -> None:
    path = write_weights(folder, "restorer")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | {"config": config}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="their configuration"):
        read_weight_file(path)


def test_a_network_that_does_not_fit_says_what_differs(folder: Path) -> None:
    network = {"class_path": "acda.models.Restorer", "init_args": {**RESTORER["init_args"], "width": 8}}
    config = {"model": {"class_path": "x", "init_args": {"network": network}}, "data": {}, "seed_everything": 0}
    tensors = random_network("restorer").state_dict()
    gone = next(name for name in tensors if name.startswith("body."))
    tensors["extra"] = tensors.pop(gone)
    (folder / "other.safetensors").write_bytes(encode_weights(tensors, config, {}, half=False))
    with pytest.raises(ValueError, match="do not fit Restorer") as raised:
        pretrained("other")
    text = str(raised.value)
    assert f"missing in it: {gone}" in text
    assert "not in the model: extra" in text
    assert "head.0.bias [4] instead of [8]" in text


class Trap(nn.Module):
    def __init__(self) -> None:
        raise AssertionError("was called")


REFUSED: list[Any] = [
    "os.system",
    {"class_path": "os.system", "init_args": {"command": "false"}},
    {"class_path": "tests.acda.models.test_pretrained.Trap"},
    {"class_path": "torch.nn.functional.relu"},
    {"class_path": "torch.nn.modules.module.warnings.warn"},
    {"class_path": "torch.load"},
    {"class_path": "acda.models.pretrained", "init_args": {"name": "restorer"}},
    {"class_path": "acda.keep_freed_memory"},
    {"class_path": "acda.models.weights.Path"},
    {"class_path": "acda.models.Nothing"},
    {"class_path": 5},
    {"class_path": "torch.nn.Linear", "init_args": [1, 2]},
    {"class_path": "torch.nn.Linear", "init_args": {"no_such": 1}},
    {"class_path": "acda.models.Restorer", "init_args": {"conv": {"class_path": "os.system"}}},
    {"class_path": "acda.models.Restorer", "init_args": {"conv": "acda.keep_freed_memory"}},
    None,
]


@pytest.mark.parametrize("config", REFUSED)
def test_a_configuration_makes_layers_and_nothing_else(config: Any, folder: Path) -> None:
    write_weights(folder, "restorer")
    with pytest.raises(ValueError, match=r"there is no|is no network|expected class_path|argument"):
        build_network(config)


def test_functions_that_make_networks_are_called() -> None:
    network = build_network({"class_path": "acda.models.ad_resnet_s", "init_args": {"num_classes": 3}})
    assert network.fc.out_features == 3


def test_a_training_starts_from_a_name(folder: Path) -> None:
    write_weights(folder, "restorer")
    network = Restorer(width=4, inner_width=6, depth=1, kernel_size=3)
    report = load_weights(network, "pretrained:restorer")
    assert not report.kept and not report.unused
    for key, value in random_network("restorer").state_dict().items():
        assert torch.equal(network.state_dict()[key], value)


def test_the_folder_is_that_of_the_repository_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE)
    root = Path(__file__).parents[3]
    assert list_pretrained() == sorted(path.stem for path in (root / "weights").glob("*.safetensors"))
    assert os.environ.get(FOLDER_VARIABLE) is None
