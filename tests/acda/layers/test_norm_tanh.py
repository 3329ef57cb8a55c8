"""Norm modules followed by tanh: one operator, and all that a module may have about it that one operator has not."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from acda import ACDAConv2d
from acda.layers.convolve import convolve_tanh
from acda.layers.norm_tanh import norm_tanh
from acda.ops import norm_tanh as operator
from tests.acda.layers.test_layer import small

CHANNELS = 6


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what the operator was called with; it runs however small that is."""
    found: list[int] = []
    forward = operator._forward
    monkeypatch.setattr(operator, "_LEAST_ELEMENTS", 0)
    monkeypatch.setattr(operator, "_forward", lambda x, *others: (found.append(x.numel()), forward(x, *others))[1])
    return found


def images(*shape: int) -> Tensor:
    return (3 * torch.randn(*shape) + 1).contiguous(memory_format=torch.channels_last)


def two(norm: nn.Module, x: Tensor) -> Tensor:
    return torch.tanh(norm(x))


def randomised(norm: nn.Module) -> nn.Module:
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def assert_trains_as_two_modules(norm: nn.Module) -> None:
    """Outputs, gradients, and after a few steps parameters and statistics; then in evaluation."""
    other = copy.deepcopy(norm)
    for _ in range(3):
        x = images(4, CHANNELS, 5, 6)
        results = []
        for module, function in ((norm, norm_tanh), (other, two)):
            leaf = x.clone().requires_grad_()
            y = function(module, leaf)
            y.square().sum().backward()
            results.append((y, leaf.grad, *(p.grad for p in module.parameters())))
            for parameter in module.parameters():
                parameter.data -= 0.01 * parameter.grad
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(dict(norm.state_dict()), dict(other.state_dict()), rtol=1e-4, atol=1e-5)
    x = images(2, CHANNELS, 5, 6)
    torch.testing.assert_close(norm_tanh(norm.eval(), x), two(other.eval(), x), rtol=1e-4, atol=1e-5)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"momentum": None},
    {"momentum": 0.0},
    {"momentum": 1.0},
    {"affine": False},
    {"track_running_stats": False},
    {"eps": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_batch_norm_is_one_operator(options: dict[str, Any], calls: list[int]) -> None:
    assert_trains_as_two_modules(randomised(nn.BatchNorm2d(CHANNELS, **options)))
    assert len(calls) == (4 if "track_running_stats" in options else 3)  # without statistics in evaluation too


def test_frozen_statistics_in_training(calls: list[int]) -> None:
    assert_trains_as_two_modules(randomised(nn.BatchNorm2d(CHANNELS)).eval())
    assert not calls


def test_frozen_parameters(calls: list[int]) -> None:
    norm = randomised(nn.BatchNorm2d(CHANNELS)).requires_grad_(False)
    leaf = images(2, CHANNELS, 5, 6).requires_grad_()
    (got,) = torch.autograd.grad(norm_tanh(norm, leaf).square().sum(), leaf)
    (want,) = torch.autograd.grad(two(norm, leaf).square().sum(), leaf)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert calls


def test_statistics_move_without_gradients(calls: list[int]) -> None:
    norm, other = nn.BatchNorm2d(CHANNELS), nn.BatchNorm2d(CHANNELS)
    x = images(2, CHANNELS, 5, 6)
    with torch.inference_mode():
        torch.testing.assert_close(norm_tanh(norm, x), two(other, x))
    torch.testing.assert_close(dict(norm.state_dict()), dict(other.state_dict()))
    assert calls


class _OfOnesOwn(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


def _with_hook(register: str) -> nn.Module:
    norm = nn.BatchNorm2d(CHANNELS)
    hooks: dict[str, Callable[..., Any]] = {
        "register_forward_hook": lambda module, inputs, output: output + 1,
        "register_forward_pre_hook": lambda module, inputs: (2 * inputs[0],),
        "register_full_backward_hook": lambda module, grads, _: (2 * grads[0],),
        "register_full_backward_pre_hook": lambda module, grads: (2 * grads[0],),
    }
    getattr(norm, register)(hooks[register])
    return norm


def _with_another_forward() -> nn.Module:
    norm = nn.BatchNorm2d(CHANNELS)
    norm.forward = lambda x: x / 3  # type: ignore[method-assign]
    return norm


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "group norm": partial(nn.GroupNorm, 2, CHANNELS),
    "instance norm": partial(nn.InstanceNorm2d, CHANNELS),
    "none": nn.Identity,
    "a subclass": partial(_OfOnesOwn, CHANNELS),
    "forward hook": partial(_with_hook, "register_forward_hook"),
    "forward pre-hook": partial(_with_hook, "register_forward_pre_hook"),
    "backward hook": partial(_with_hook, "register_full_backward_hook"),
    "backward pre-hook": partial(_with_hook, "register_full_backward_pre_hook"),
    "parametrised": lambda: nn.utils.parametrize.register_parametrization(
        nn.BatchNorm2d(CHANNELS), "weight", nn.Softplus()
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_modules_run_as_they_are(name: str, calls: list[int]) -> None:
    assert_trains_as_two_modules(OTHERS[name]())
    assert not calls


def test_a_forward_of_an_instance_is_called(calls: list[int]) -> None:
    x = images(2, CHANNELS, 4, 4)
    torch.testing.assert_close(norm_tanh(_with_another_forward(), x), torch.tanh(x / 3))
    assert not calls


def test_a_hook_on_all_modules_is_called(calls: list[int]) -> None:
    seen: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, inputs, y: seen.append(type(m).__name__))
    try:
        norm_tanh(nn.BatchNorm2d(CHANNELS), images(2, CHANNELS, 4, 4))
    finally:
        handle.remove()
    assert seen == ["BatchNorm2d"] and not calls


@pytest.mark.parametrize("change", [
    lambda x: x.double(), lambda x: x.bfloat16(), lambda x: x.contiguous(), lambda x: x[:, :, ::2], lambda x: x[:0],
], ids=["float64", "bfloat16", "contiguous", "strided", "no images"])  # fmt: skip
def test_other_images(change: Callable[[Tensor], Tensor], calls: list[int]) -> None:
    x = change(images(2, CHANNELS, 6, 6))
    norm, other = (nn.BatchNorm2d(CHANNELS, dtype=x.dtype) for _ in range(2))
    assert torch.equal(norm_tanh(norm, x), two(other, x))
    assert not calls


def test_wrong_images_are_refused_as_by_the_norm() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_tanh(nn.BatchNorm2d(CHANNELS), images(1, CHANNELS, 1, 1))
    with pytest.raises(RuntimeError, match="elements not 6"):
        norm_tanh(nn.BatchNorm2d(CHANNELS), images(2, 1, 4, 4))


def test_transforms_and_tracers(calls: list[int]) -> None:
    norm = randomised(nn.BatchNorm2d(CHANNELS, track_running_stats=False)).requires_grad_(False)
    x, v = images(2, CHANNELS, 4, 4), images(2, CHANNELS, 4, 4)
    one, pair = partial(norm_tanh, norm), partial(two, norm)
    torch.testing.assert_close(torch.func.jvp(one, (x,), (v,)), torch.func.jvp(pair, (x,), (v,)))
    torch.testing.assert_close(torch.func.grad(lambda t: one(t).sum())(x), torch.func.grad(lambda t: pair(t).sum())(x))
    with forward_ad.dual_level():
        assert forward_ad.unpack_dual(one(forward_ad.make_dual(x, v))).tangent is not None
    torch.testing.assert_close(torch.jit.trace(lambda t: one(t), x, check_trace=False)(v), pair(v))
    torch.testing.assert_close(torch.compile(one, fullgraph=True, backend="aot_eager")(v), pair(v))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert one(mode.from_tensor(x)).shape == x.shape
    assert not calls


def test_a_graph_of_operators_has_it() -> None:
    """Tracing by calling, unlike compiling, sees tensors with their values, and takes down the operator itself."""
    norm = randomised(nn.BatchNorm2d(CHANNELS, track_running_stats=False))
    graph = make_fx(partial(norm_tanh, norm))(images(2, CHANNELS, 4, 4))
    v = images(2, CHANNELS, 4, 4)
    torch.testing.assert_close(graph(v), two(norm, v), rtol=1e-4, atol=1e-5)


def test_a_layer_in_training(calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = small(stride=2), torch.randn(3, 2, 7, 8, requires_grad=True)
    results = []
    for least in (0, 10**9):
        monkeypatch.setattr(operator, "_LEAST_ELEMENTS", least)
        y = layer(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))])
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
    assert len(calls) == 2


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
@pytest.mark.parametrize("padding_mode", ["zeros", "reflect"])
def test_a_layer_in_inference(norm: Any, padding_mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = small(norm=norm, stride=2, padding_mode=padding_mode).eval()
    x = torch.randn(2, 2, 9, 8)
    expected = layer(x)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
        monkeypatch.setattr("acda.layers.convolve._onednn_runs", lambda *_: False)
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_in_inference(value: float) -> None:
    conv, x = nn.Conv2d(3, 20, 1), images(1, 3, 5, 5)
    x[0, 1, 2, 3] = value
    with torch.no_grad():
        y = convolve_tanh(conv, x, conv.weight, conv.bias)
        torch.testing.assert_close(y, torch.tanh(conv(x)), equal_nan=True)
    assert bool(y[0, :, 2, 3].isnan().all()) == (value != value)


def test_inference_under_autocast_is_in_its_dtype() -> None:
    layer = ACDAConv2d(3, 4, 3, padding=1).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert layer.coefficients(images(1, 3, 8, 8)).dtype == torch.bfloat16
