"""What networks state of themselves, and what holds where they do not."""

import pytest
import torch
from torch import nn

from acda.models import AdResNet, CrowdCounter, LeNet
from acda.models.contracts import (
    Backbone,
    HasLevels,
    Tileable,
    find_missing,
    fulfils,
    image_size,
    output_stride,
    total_stride,
)
from tests.support.restorations import NETWORKS


def backbone(**arguments: object) -> AdResNet:
    return AdResNet(None, plain_depths=(1, 1), dynamic_depths=(1, 1), widths=(4, 4, 4, 8), **arguments)


def test_networks_state_their_strides() -> None:
    counter = CrowdCounter(backbone(), output_stride=8, widths=(4, 4))
    assert (output_stride(counter), total_stride(counter)) == (8, 32)
    assert (output_stride(backbone()), total_stride(backbone(small_images=True))) == (1, 8)
    silent = nn.Identity()
    assert (output_stride(silent), output_stride(silent, default=3), total_stride(silent)) == (1, 3, 1)


def test_sizes_are_those_of_networks_that_take_one_alone() -> None:
    assert image_size(LeNet(image_size=28)) == 28
    assert image_size(backbone()) is None


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_that_restore_can_be_tiled(name: str) -> None:
    network = NETWORKS[name][1]()
    assert fulfils(network, Tileable)
    assert fulfils(network, HasLevels) == (name == "LPKPN")


def test_what_is_missing_is_listed() -> None:
    network = nn.Identity()
    assert find_missing(network, Tileable) == ["output_stride", "total_stride"]
    network.output_stride, network.total_stride = 1, None
    assert find_missing(network, Tileable) == ["total_stride"]
    assert find_missing(backbone(), Backbone) == []


def test_a_compiled_network_states_what_the_network_does() -> None:
    """``torch.compile`` wraps it in a module whose own attributes are others."""
    compiled = torch.compile(backbone())
    assert fulfils(compiled, Backbone)
    assert total_stride(compiled) == 32
