"""Layouts in memory."""

import torch
from torch import nn

from acda import ACDAConv2d
from acda.ops.layout import any_channels_last, lay_out_weights


def test_strides_decide_where_sizes_do_not() -> None:
    assert any_channels_last(torch.zeros(2, 5, 4, 4).to(memory_format=torch.channels_last)[:, :3])
    assert any_channels_last(torch.zeros(2, 5, 8, 8).to(memory_format=torch.channels_last)[..., ::2, ::2])
    assert not any_channels_last(torch.zeros(2, 5, 1, 1), torch.zeros(1, 1, 1, 1), torch.zeros(3, 2), torch.zeros(()))
    assert not any_channels_last(torch.zeros(2, 1, 4, 4).expand(2, 3, 4, 4))


def test_weights_laid_out_let_everything_between_layers_lie_so() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), ACDAConv2d(4, 5, 3), nn.Conv2d(5, 6, 3), nn.Conv3d(1, 1, 2)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    lay_out_weights(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    x = torch.randn(2, 3, 9, 9)
    for layer in network[:3]:
        x = layer(x)
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_networks_that_channels_last_would_break_keep_their_layout() -> None:
    """Those of plain convolutions are mended; a convolution of another class cannot be."""

    class Own(nn.Conv2d):
        pass

    for made, laid_out in ((nn.Conv2d, True), (Own, False)):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), made(4, 5, 1, stride=2))
        lay_out_weights(network)
        assert any_channels_last(*network.parameters()) is laid_out
