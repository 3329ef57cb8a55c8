"""Layouts in memory."""

import torch
from torch import nn

import acda
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


def test_networks_in_which_channels_last_breaks_memory_keep_their_layout() -> None:
    """Strided 1×1 convolutions of fewer than 16 channels, in shortcuts and bottlenecks, get contiguous images."""
    sizes = {"plain_depths": (1, 1), "dynamic_depths": (1, 1), "small_images": True}
    for width, laid_out in ((4, False), (16, True)):
        network = acda.models.AdResNet(None, widths=(width,) * 4, **sizes)
        lay_out_weights(network)
        assert any_channels_last(*network.parameters()) is laid_out
        strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) != m.stride]
        inputs: list[torch.Tensor] = []
        for conv in strided:
            conv.register_forward_pre_hook(lambda _, args, seen=inputs: seen.append(args[0]))
        network(torch.randn(2, 3, 48, 48)).sum().backward()
        assert len(inputs) == len(strided) == 5
        assert all(any_channels_last(x) is laid_out for x in inputs)
