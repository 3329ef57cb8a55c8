"""All comparators stand in networks wherever ``Conv2d`` does, by their public names."""

import copy
import math
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

import acda
from acda.models import AdResNet, LeNet
from tests.support.comparators import every_comparator


@every_comparator
def test_is_public(layer_class: type[nn.Module]) -> None:
    assert layer_class.__name__ in acda.__all__
    assert layer_class.__name__ in acda.layers.__all__


@every_comparator
def test_stands_in_a_network_by_its_name_in_yaml(layer_class: type[nn.Module]) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(nn.Module, "network")
    name = f"acda.{layer_class.__name__}"
    for conv in (name, {"class_path": name, "init_args": {"dtype": None}}):
        init_args = {"in_channels": 1, "image_size": 8, "kernel_size": 3, "padding": 1, "conv": conv}
        config = parser.parse_object({"network": {"class_path": "acda.models.LeNet", "init_args": init_args}})
        network = parser.instantiate(config).network
        assert isinstance(network, LeNet)
        assert sum(isinstance(module, layer_class) for module in network.modules()) == 2
        logits: Tensor = network(torch.rand(2, 1, 8, 8))
        assert logits.shape == (2, 10)
        assert math.isfinite(float(logits.detach().sum()))


@every_comparator
def test_stands_in_ad_resnet_and_keeps_its_own_weights(layer_class: type[nn.Module]) -> None:
    """The network draws its plain convolutions anew, not those inside other layers."""
    drawn: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def conv(*arguments: Any, **options: Any) -> nn.Module:
        layer = layer_class(*arguments, **options)
        drawn.append((layer, copy.deepcopy(layer.state_dict())))
        return layer

    network = AdResNet(num_classes=3, conv=conv, widths=(4, 4, 8, 8), kernel_sizes=(5, 3), small_images=True)
    assert network(torch.randn(2, 3, 9, 8)).shape == (2, 3)
    assert len(drawn) == 4
    for layer, before in drawn:
        assert all(torch.equal(value, before[name]) for name, value in layer.named_parameters())
