import pytest
import torch
from torch import nn

import acda
from acda.layers import GroupNorm


@pytest.mark.parametrize(
    ("channels", "group_size", "groups"),
    [(64, 16, 4), (64, 8, 8), (108, 16, 6), (16, 16, 1), (6, 16, 1), (31, 16, 1), (34, 16, 2), (3, 1, 3)],
)
def test_groups_are_the_divisor_closest_in_ratio(channels: int, group_size: int, groups: int) -> None:
    assert GroupNorm(channels, group_size).num_groups == groups


def test_normalises_each_image_by_itself() -> None:
    x = torch.randn(3, 32, 5, 7, dtype=torch.float64) * 4 + 2
    norm = GroupNorm(32, dtype=torch.float64)
    grouped = x.view(3, 2, 16, 5, 7)
    mean = grouped.mean((2, 3, 4), keepdim=True)
    var = grouped.var((2, 3, 4), keepdim=True, unbiased=False)
    expected = ((grouped - mean) / (var + 1e-5).sqrt()).view_as(x)
    torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm.eval()(x[1:2]), expected[1:2])


@pytest.mark.parametrize(("channels", "group_size", "name"), [(0, 16, "channels"), (4, 0, "group_size")])
def test_refuses_no_channels(channels: int, group_size: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        GroupNorm(channels, group_size)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_ad_resnet_without_batch_norm(block: str) -> None:
    def conv(*args: int, **kwargs: int) -> nn.Module:
        return acda.ACDAConv2d(*args, **kwargs, norm=GroupNorm)

    network = acda.models.AdResNet(
        5,
        conv=conv,
        plain_block=block,
        plain_depths=(1, 1),
        dynamic_depths=(1, 1),
        widths=(16, 16, 16, 16),
        norm=GroupNorm,
    )
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(x)[1:], network(x[1:]))  # in training mode, too


def test_named_as_batch_norm_is() -> None:
    """Weights of a network with batch norms load into the same with group norms, but for running statistics."""
    with_batch, with_group = acda.models.AdResNet(5), acda.models.AdResNet(5, norm=GroupNorm)
    _, unexpected = with_group.load_state_dict(with_batch.state_dict(), strict=False)
    names = {key.rpartition(".")[2] for key in unexpected}
    assert names == {"running_mean", "running_var", "num_batches_tracked"}
