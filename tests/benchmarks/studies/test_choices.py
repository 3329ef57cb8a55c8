from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import acda
from benchmarks.studies import choices
from benchmarks.studies.matching import network_in

CHANGED: dict[str, dict[str, Any]] = {
    "3 atoms": {"num_atoms": 3},
    "12 atoms": {"num_atoms": 12},
    "3 bases a scale": {"num_bases": 3},
    "smallest scale": {"scales": [3]},
}
NORMS = {
    "batch norms": "BatchNorm2d",
    "batch norms, adaptive from the start": "BatchNorm2d",
    "group norms": "GroupNorm",
    "no norms": "Identity",
}


@pytest.mark.parametrize("data", choices.NETWORKS)
@pytest.mark.parametrize("choice", choices.CHOICES)
def test_all_layers_have_the_choice_and_nothing_else_changes(data: str, choice: str) -> None:
    config = choices.NETWORKS[data].config
    with torch.device("meta"):
        network, plain = network_in(config, choices.changes(data, choice)), _unchanged(config)
    layers, before = ([m for m in n.modules() if isinstance(m, acda.ACDAConv2d)] for n in (network, plain))
    assert len(layers) == len(before) > 1
    for layer, as_it_was in zip(layers, before, strict=True):
        generator = layer.generator
        assert _sides(layer) == choices.CHOICES[choice].get("generator_kernel_sizes", _sides(as_it_was))
        assert type(generator.norm2).__name__ == NORMS.get(choice, type(as_it_was.generator.norm2).__name__)
        share = choices.CHOICES[choice].get("initial_adaptivity", as_it_was.generator.initial_adaptivity)
        assert generator.initial_adaptivity == share
        for name in ("num_atoms", "num_bases", "scales"):
            assert getattr(layer, name) == CHANGED.get(choice, {}).get(name, getattr(as_it_was, name))
        side = layer.kernel_size[0]
        assert layer.bases.shape[0] == side**2 or choice != "direct atoms"


@lru_cache
def _unchanged(config: str) -> torch.nn.Module:
    return network_in(config)


def _sides(layer: acda.ACDAConv2d) -> list[int]:
    return [layer.generator.conv1.kernel_size[0], layer.generator.conv2.kernel_size[0]]


@pytest.mark.parametrize("data", choices.NETWORKS)
def test_what_a_configuration_has_by_itself_is_not_trained_again(data: str) -> None:
    """Choices whose layers are those of the configuration are the ones that are left out, "as it is" apart."""
    config = choices.NETWORKS[data].config
    with torch.device("meta"):
        networks = {choice: network_in(config, choices.changes(data, choice)) for choice in choices.CHOICES}
    as_it_is = _described(networks.pop("as it is"))
    same = [choice for choice, network in networks.items() if _described(network) == as_it_is]
    assert sorted(same) == sorted(choices.NETWORKS[data].has)


def test_choices_that_change_nothing_are_refused() -> None:
    with pytest.raises(SystemExit, match=r"--only must name .* changes something, got \['no norms'\]"):
        choices.main(["--data", "polyu", "--only", "no norms"])


def _described(network: torch.nn.Module) -> list[tuple[str, float]]:
    layers = [module for module in network.modules() if isinstance(module, acda.ACDAConv2d)]
    return [(repr(layer), layer.generator.initial_adaptivity) for layer in layers]


def test_the_choice_is_a_second_configuration(tmp_path: Path) -> None:
    made = choices.candidate("shanghaitech_a", "no norms", tmp_path)
    (argument,) = made.arguments
    written = yaml.safe_load(Path(argument.removeprefix("--config=")).read_text())
    assert written["model"]["init_args"]["network"] == choices.changes("shanghaitech_a", "no norms")
    network = network_in(made.config, choices.changes("shanghaitech_a", "no norms"))
    assert made.facts["parameters"] == sum(parameter.numel() for parameter in network.parameters())
