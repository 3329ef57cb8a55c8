"""``ACDAConv2d`` as a module: drop-in for ``Conv2d``, stable statistics, saved, copied, moved, compiled."""

import copy
import inspect
import io
import math
import pickle
from typing import Any

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, nn

from acda import ACDAConv2d, GroupNorm, fourier_bessel_bases, identity_bases
from acda.layers.factory import NormFactory
from acda.layers.generator import TANH_VARIANCE
from acda.ops import functional
from tests.support.oracle import error_ratio


def small(**options: Any) -> ACDAConv2d:
    options = {"kernel_size": 3, "padding": 1, "num_atoms": 2, "num_bases": 2, "hidden_channels": 3} | options
    return ACDAConv2d(2, 4, **options)


def test_constructor_takes_conv2d_arguments_by_position_and_name() -> None:
    ours = list(inspect.signature(ACDAConv2d).parameters.values())
    theirs = list(inspect.signature(nn.Conv2d).parameters.values())
    for mine, conv in zip(ours, theirs, strict=False):
        assert (mine.name, mine.kind) == (conv.name, conv.kind)
        if conv.default is not conv.empty:
            assert mine.default == conv.default
    assert all(p.kind is p.KEYWORD_ONLY for p in ours[len(theirs) :])


def test_attributes_of_conv2d() -> None:
    arguments = (4, 8, 5, (2, 1), (1, 3), 2, 2, True, "reflect")
    layer, conv = ACDAConv2d(*arguments), nn.Conv2d(*arguments)
    names = "in_channels out_channels kernel_size stride padding dilation groups padding_mode"
    for name in names.split():
        assert getattr(layer, name) == getattr(conv, name)
    assert layer.bias is not None
    assert ACDAConv2d(4, 8, bias=False).bias is None


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
@pytest.mark.parametrize(
    ("channels", "kernel_size", "options", "draws"),
    [
        ((16, 16), 3, {}, 4),
        ((64, 16), 5, {}, 4),
        ((8, 64), 7, {}, 4),
        ((1, 1), 7, {}, 24),  # six weights in all: a draw says little
        ((32, 32), 7, {"groups": 32}, 4),
        ((16, 16), 5, {"bases": identity_bases}, 4),
        ((16, 16), 7, {"generator_kernel_sizes": (3, 3), "scales": (3, 7)}, 4),
        ((16, 16), 7, {"initial_adaptivity": 1 / 16}, 8),
        ((16, 16), 7, {"initial_adaptivity": 0}, 8),
    ],
)
def test_initialisation_preserves_variance(
    norm: type[nn.Module] | None, channels: tuple[int, int], kernel_size: int, options: dict[str, Any], draws: int
) -> None:
    ratios = []
    for _ in range(draws):
        layer = ACDAConv2d(*channels, kernel_size, norm=norm, bias=False, **options)  # all windows lie inside
        x = torch.randn(2, channels[0], 20, 20)
        with torch.no_grad():
            ratios.append(float(layer(x).var() / x.var()))
    assert 0.5 <= sum(ratios) / draws <= 2


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
def test_coefficients_use_their_range_at_the_start(norm: type[nn.Module] | None) -> None:
    """A unit input reaches each tanh with unit variance: E tanh(g)² of a standard normal g comes out."""
    expected, _ = quad(lambda g: math.tanh(g) ** 2 * math.exp(-g * g / 2) / math.sqrt(2 * math.pi), -8, 8)
    assert pytest.approx(expected, abs=1e-7) == TANH_VARIANCE
    layer = ACDAConv2d(64, 4, 5, norm=norm)
    with torch.no_grad():
        variance = float(layer.coefficients(torch.randn(2, 64, 16, 16)).var())
    assert variance == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
def test_a_layer_without_a_static_part_cannot_tell_an_image_from_its_negative_at_first(
    norm: type[nn.Module] | None,
) -> None:
    """Coefficients are odd in the image, which they multiply; a static part takes that away."""
    x = torch.randn(2, 3, 9, 9)
    wholly, partly = (ACDAConv2d(3, 4, 5, norm=norm, initial_adaptivity=share) for share in (1.0, 0.5))
    with torch.no_grad():
        assert error_ratio(wholly(-x), wholly(x)) < 1e-5
        assert error_ratio(partly(-x), partly(x)) > 0.1


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, GroupNorm, None], ids=["batch", "group", "none"])
@pytest.mark.parametrize("share", [0.0, 1 / 16, 0.5, 1.0])
def test_a_share_of_the_variance_is_adaptive_at_the_start(norm: NormFactory | None, share: float) -> None:
    """Before the last tanh the variance over pixels is the share, that over coefficients of their means the rest."""
    layer = ACDAConv2d(64, 4, 7, num_atoms=24, norm=norm, initial_adaptivity=share)
    with torch.no_grad():
        reached = layer.coefficients(torch.randn(8, 64, 20, 20)).double().atanh().flatten(1, 2)
    over_pixels = reached.var(dim=(0, 2, 3)).mean()
    assert float(over_pixels) == pytest.approx(share, rel=0.25, abs=1e-9)
    assert float(reached.mean(dim=(0, 2, 3)).var()) == pytest.approx(1 - share, rel=0.25, abs=0.02)
    layer.reset_parameters()
    again = layer.coefficients(torch.randn(8, 64, 20, 20)).detach().double().atanh().flatten(1, 2)
    assert float(again.var(dim=(0, 2, 3)).mean()) == pytest.approx(share, rel=0.25, abs=1e-9)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d, None], ids=["norm", "no-norm"])
def test_translation_equivariance(norm: type[nn.Module] | None) -> None:
    layer = ACDAConv2d(3, 4, 7, padding=3, norm=norm).eval()
    x = torch.randn(1, 3, 32, 32)
    dy, dx = 5, 3
    shifted = torch.roll(x, (dy, dx), dims=(2, 3))
    reach = 3 + max(dy, dx) + 1
    inside = slice(reach, 32 - reach)
    moved = torch.roll(layer(x), (dy, dx), dims=(2, 3))[..., inside, inside]
    assert error_ratio(layer(shifted)[..., inside, inside], moved) < 1e-5
    assert error_ratio(layer(x)[..., inside, inside], moved) > 0.1  # the shift is seen


@pytest.mark.parametrize("generator_kernel_sizes", [(1, 3), (3, 3)])
def test_circular_padding_has_no_border(generator_kernel_sizes: tuple[int, int]) -> None:
    """Filter and generator both continue the image with its other side: equivariance holds at every pixel."""
    layer = ACDAConv2d(
        2, 3, 5, padding="same", padding_mode="circular", generator_kernel_sizes=generator_kernel_sizes
    ).eval()
    x = torch.randn(1, 2, 9, 10)
    moved = torch.roll(layer(x), (4, 3), dims=(2, 3))
    assert error_ratio(layer(torch.roll(x, (4, 3), dims=(2, 3))), moved) < 1e-5


def test_stride_equivariance() -> None:
    """A shift by the stride moves the output by one pixel."""
    layer = ACDAConv2d(2, 2, 5, stride=2, padding=2).eval()
    x = torch.randn(1, 2, 24, 24)
    moved = layer(torch.roll(x, (2, 4), dims=(2, 3)))
    expected = torch.roll(layer(x), (1, 2), dims=(2, 3))
    assert error_ratio(moved[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4]) < 1e-5


def test_filters_adapt_to_the_pixel() -> None:
    layer = small().eval()
    x = torch.randn(1, 2, 6, 6)
    filters = layer.filters(x)
    assert float(filters.detach().std(dim=(-2, -1)).mean()) > 0.1 * float(filters.detach().std())


def test_generator_learns() -> None:
    """Every parameter has a gradient, so that filters, not only their weights, are trained."""
    layer = small(norm=None)
    layer(torch.randn(2, 2, 5, 5)).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("options", [{}, {"stride": 2, "groups": 2, "padding_mode": "replicate"}], ids=str)
def test_gradcheck(options: dict[str, Any]) -> None:
    layer = small(norm=None, dtype=torch.float64, **options)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("images", [1, 2])
def test_gradcheck_through_batch_norm(images: int, memory_format: torch.memory_format) -> None:
    """A gradient in another layout than the coefficients made BatchNorm's own gradients wrong for one image."""
    layer = small(dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x: Tensor, *values: Tensor) -> Tensor:
        x = x.contiguous(memory_format=memory_format)
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    x = torch.randn(images, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


def test_nan_reaches_exactly_the_outputs_that_read_it() -> None:
    """The windows of filter and generator: 7×7 holds the generator's 3×3."""
    layer = ACDAConv2d(2, 3, 7, padding=3).eval()
    x = torch.randn(1, 2, 16, 17)
    x[0, 1, 6, 9] = torch.nan
    reached = torch.zeros(16, 17, dtype=torch.bool)
    reached[3:10, 6:13] = True
    y = layer(x)[0]
    assert torch.equal(y.isnan(), reached.expand_as(y))


def test_no_images() -> None:
    for layer in (small(), small(norm=None)):
        x = torch.zeros(0, 2, 5, 5, requires_grad=True)
        y = layer(x)
        assert y.shape == (0, 4, 5, 5)
        y.sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape


def test_unbatched() -> None:
    layer = small().eval()
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, 5, 6)
    torch.testing.assert_close(layer(x), layer(x.unsqueeze(0))[0])
    assert len(calls) == 2  # one a call, as for any module


@pytest.mark.parametrize("with_bases", [True, False], ids=["now", "before bases were in it"])
def test_state_dict_goes_round(with_bases: bool) -> None:
    layer, other = small(), small()
    layer(torch.randn(3, 2, 5, 5))  # moves the running statistics
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    if not with_bases:
        del state["bases"]
    other.load_state_dict(state, strict=True)
    x = torch.randn(1, 2, 5, 5)
    assert torch.equal(layer.eval()(x), other.eval()(x))


@pytest.mark.parametrize("bases", [None, identity_bases], ids=["fourier-bessel", "identity"])
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies(bases: Any, clone: Any) -> None:
    layer = small(bases=bases).eval()
    other = clone(layer)
    x = torch.randn(1, 2, 5, 5)
    expected = layer(x)
    assert torch.equal(other(x), expected)
    nn.init.zeros_(layer.weight)  # no longer shared
    assert torch.equal(other(x), expected)


def test_to_dtype() -> None:
    layer = small().eval()
    x = torch.randn(1, 2, 6, 6)
    expected = layer(x)
    assert error_ratio(copy.deepcopy(layer).to(torch.float64)(x.double()), expected) < 1e-5
    assert error_ratio(copy.deepcopy(layer).to(torch.bfloat16)(x.bfloat16()), expected) < 5e-2
    assert layer.bases.dtype == layer.weight.dtype == torch.float32


def test_float64_layer_has_float64_bases() -> None:
    assert torch.equal(ACDAConv2d(2, 2, 7, dtype=torch.float64).bases, fourier_bessel_bases(7, dtype=torch.float64))


def test_device_and_dtype_of_everything() -> None:
    layer = ACDAConv2d(2, 4, 5, device="meta", dtype=torch.float16)
    floats = [t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
    assert {(t.device.type, t.dtype) for t in floats} == {("meta", torch.float16)}


def test_reset_parameters_repeats_under_a_seed() -> None:
    layer = small()
    torch.manual_seed(3)
    layer.reset_parameters()
    first = copy.deepcopy(layer.state_dict())
    layer.reset_parameters()
    assert not torch.equal(layer.weight, first["weight"])
    torch.manual_seed(3)
    layer.reset_parameters()
    assert all(torch.equal(value, first[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("bases", [None, identity_bases], ids=["fourier-bessel", "identity"])
def test_made_on_meta_then_materialised(bases: Any) -> None:
    with torch.device("meta"):
        layer = ACDAConv2d(3, 4, 5, padding=2, bases=bases)
    assert {t.device.type for t in (*layer.parameters(), *layer.buffers())} == {"meta"}
    layer.to_empty(device="cpu")
    for tensor in (*layer.parameters(), *layer.buffers()):
        nn.init.constant_(tensor.data, 7)  # what was in memory before
    fresh = ACDAConv2d(3, 4, 5, padding=2, bases=bases)
    for each in (layer, fresh):
        torch.manual_seed(5)
        each.reset_parameters()
    assert torch.equal(layer.bases, fresh.bases)
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(layer(x), fresh(x))


def test_repr_leaves_out_defaults() -> None:
    plain, odd = repr(ACDAConv2d(2, 4, 5)), repr(ACDAConv2d(2, 4, 5, 2, 1, 2, 2, False, "reflect"))
    first_line = plain.splitlines()[1]
    assert first_line.strip().startswith("2, 4, kernel_size=5")
    words = ["stride=(2, 2)", "padding=(1, 1)", "dilation=(2, 2)", "groups=2", "bias=False", "padding_mode='reflect'"]
    for word in words:
        assert word in odd.splitlines()[1]
        assert word.split("=")[0] not in first_line


def test_autocast() -> None:
    layer = small(kernel_size=7, padding=3)
    x = torch.randn(2, 2, 8, 8)
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert error_ratio(y, expected) < 3e-2
    y.float().square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32, name


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_compiled_equals_eager(mode: str) -> None:
    layer = small(stride=2).train(mode == "train")
    compiled = torch.compile(copy.deepcopy(layer), fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 2, 7, 8)
    y, truth = compiled(x), layer(x)
    torch.testing.assert_close(y, truth)
    y.square().sum().backward()
    truth.square().sum().backward()
    for got, want in zip(compiled.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-4, atol=1e-5)


def test_exported_at_any_size() -> None:
    layer = small(stride=2, padding="valid").eval()
    auto = torch.export.Dim.AUTO
    program = torch.export.export(layer, (torch.randn(2, 2, 9, 8),), dynamic_shapes={"x": {0: auto, 2: auto, 3: auto}})
    x = torch.randn(3, 2, 12, 15)
    torch.testing.assert_close(program.module()(x), layer(x))


def test_the_layer_asks_for_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = small(backend="reference")
    of_backend = functional._BACKENDS["reference"]._replace(cannot_run=lambda x: "it is out")
    monkeypatch.setitem(functional._BACKENDS, "reference", of_backend)
    with pytest.raises(RuntimeError, match="backend='reference' cannot run: it is out"):
        layer(torch.randn(2, 2, 5, 5))
