"""``ACDAConv2d`` in inference: norms folded into convolutions, and the layout between generator and output."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acda import ACDAConv2d
from tests.acda.layers.test_layer import small


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients(mode: Any) -> None:
    layer = small().eval()
    x = torch.randn(1, 2, 5, 5)
    with mode():
        y = layer(x)
    assert not y.requires_grad
    torch.testing.assert_close(y, layer(x))


def _with_statistics(layer: ACDAConv2d) -> ACDAConv2d:
    """Trained for a step or two, as it were: norms and weights that change something."""
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data if module.affine else None):
                if tensor is not None:
                    tensor.normal_()
            if module.running_var is not None:
                module.running_var.uniform_(0.1, 3)
    return layer.eval()


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d, lambda c: nn.BatchNorm2d(c, affine=False), lambda c: nn.BatchNorm2d(c, track_running_stats=False)],
    ids=["affine", "no-weights", "no-statistics"],
)
def test_inference_with_folded_norms_gives_what_the_norms_give(norm: Any) -> None:
    layer = _with_statistics(small(norm=norm).double())
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
    coefficients, y = layer.coefficients(x), layer(x)  # with gradients: the norms run
    with torch.no_grad():
        torch.testing.assert_close(layer.coefficients(x), coefficients, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(layer(x), y, rtol=1e-12, atol=1e-12)


def test_a_norm_with_a_hook_runs_in_inference_too() -> None:
    layer = small().eval()
    seen: list[Tensor] = []
    layer.generator.norm1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        layer(torch.randn(2, 2, 5, 6))
    assert [tuple(output.shape) for output in seen] == [(2, 3, 5, 6)]


def test_norms_in_training_mode_learn_statistics_without_gradients() -> None:
    layer = small().train()
    before = layer.generator.norm1.running_mean.clone()
    with torch.no_grad():
        layer(torch.randn(2, 2, 5, 6) + 1)
    assert not torch.equal(layer.generator.norm1.running_mean, before)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_coefficients_are_channels_last(memory_format: torch.memory_format) -> None:
    """They are laid out by pixel, as the operator reads them, whatever the layout of input and output."""
    layer = small()
    seen: list[Tensor] = []
    layer.generator.register_forward_hook(lambda module, inputs, output: seen.append(output))
    y = layer(torch.randn(3, 2, 5, 6).contiguous(memory_format=memory_format))
    assert seen[0].permute(0, 3, 4, 1, 2).is_contiguous()
    assert y.is_contiguous(memory_format=memory_format)
