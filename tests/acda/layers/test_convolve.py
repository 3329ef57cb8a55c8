"""The generator's convolutions as modules: by Winograd's algorithm, or as they are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from acda import ACDAConv2d
from acda.layers.convolve import convolve, convolve_tanh
from acda.ops import winograd
from tests.support.oracle import error_ratio

CHANNELS = 16


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes that the algorithm was called with; it runs however small they are."""
    found: list[tuple[int, ...]] = []
    compute = winograd.winograd.convolve
    monkeypatch.setattr(winograd, "_LEAST_PRODUCTS", 0)
    monkeypatch.setattr(
        winograd.winograd, "convolve", lambda x, *others: (found.append(tuple(x.shape)), compute(x, *others))[1]
    )
    return found


def images(channels: int = CHANNELS) -> Tensor:
    return torch.randn(2, channels, 9, 8).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("bias", [True, False])
def test_plain_convolutions(bias: bool, calls: list[tuple[int, ...]]) -> None:
    conv, x = nn.Conv2d(CHANNELS, 20, 3, padding=(1, 0), bias=bias), images().requires_grad_()
    y, truth = convolve(conv, x), conv(x)
    assert error_ratio(y, truth) < 1e-5
    leaves = (x, *conv.parameters())
    got, want = (torch.autograd.grad(t.square().sum(), leaves) for t in (y, truth))
    assert all(error_ratio(a, b) < 1e-5 for a, b in zip(got, want, strict=True))
    assert len(calls) == 2  # forward, and for the gradient of x


class _OfOnesOwn(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


def _hooked() -> nn.Conv2d:
    conv = nn.Conv2d(CHANNELS, 20, 3, padding=1)
    conv.register_forward_hook(lambda module, inputs, output: output + 1)
    return conv


OTHERS: dict[str, Callable[[], nn.Conv2d]] = {
    "1×1": lambda: nn.Conv2d(CHANNELS, 20, 1),
    "3×1": lambda: nn.Conv2d(CHANNELS, 20, (3, 1)),
    "strided": lambda: nn.Conv2d(CHANNELS, 20, 3, stride=(1, 2)),
    "dilated": lambda: nn.Conv2d(CHANNELS, 20, 3, dilation=2),
    "in groups": lambda: nn.Conv2d(CHANNELS, 32, 3, groups=2),
    "same": lambda: nn.Conv2d(CHANNELS, 20, 3, padding="same"),
    "reflected": lambda: nn.Conv2d(CHANNELS, 20, 3, padding=1, padding_mode="reflect"),
    "a subclass": lambda: _OfOnesOwn(CHANNELS, 20, 3, padding=1),
    "observed": _hooked,
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_modules_run_as_they_are(name: str, calls: list[tuple[int, ...]]) -> None:
    conv, x = OTHERS[name](), images()
    assert torch.equal(convolve(conv, x), conv(x))
    assert not calls


@pytest.mark.parametrize("bias", [True, False])
def test_tanh_of_a_convolution(bias: bool, calls: list[tuple[int, ...]]) -> None:
    conv, x = nn.Conv2d(CHANNELS, 20, 3, padding=1, bias=bias).requires_grad_(False), images()
    weight = torch.randn_like(conv.weight)
    truth = torch.tanh(conv._conv_forward(x, weight, conv.bias))
    assert error_ratio(convolve_tanh(conv, x, weight, conv.bias), truth) < 1e-5
    assert calls


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None])
def test_a_layer_trains_and_predicts_as_by_plain_convolutions(
    norm: type[nn.Module] | None, calls: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = ACDAConv2d(8, 6, 5, padding=2, norm=norm), images(8)

    def outcome() -> list[Tensor]:
        layer.train()
        trained = layer(x)
        grads = torch.autograd.grad(trained.square().sum(), tuple(layer.parameters()))
        with torch.no_grad():
            return [trained, *grads, layer.eval()(x)]

    layer(x)  # the same statistics for both: those of one batch
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    ours, number = outcome(), len(calls)
    monkeypatch.setattr(winograd, "_LEAST_CHANNELS", 1000)
    layer.load_state_dict(state)
    for got, want in zip(ours, outcome(), strict=True):
        assert error_ratio(got, want) < 1e-4
    assert len(calls) == number == 4
