"""Every layer where ``nn.Conv2d`` may stand: layouts in memory, tracing, loading, freezing, odd arguments."""

import copy
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.utils import parametrizations, prune
from torchvision.models import convnext_tiny, resnet18  # type: ignore[import-untyped]
from torchvision.models.feature_extraction import create_feature_extractor  # type: ignore[import-untyped]

import acda
from acda import ACDAConv2d, convert_conv2d, identity_bases, models
from acda.layers.adaptive_convolution import AdaptiveConvolution

Make = Callable[..., Any]
LAYERS: dict[str, Make] = {
    "ACDAConv2d": ACDAConv2d,
    "ACDAConv2d without norm": partial(ACDAConv2d, norm=None),
    "ACDAConv2d of identity bases": partial(ACDAConv2d, bases=identity_bases),
    **{
        name: getattr(acda, name)
        for name in ("CondConv2d", "DDFConv2d", "DeformConv2d", "DynamicConv2d", "DynamicFilterConv2d", "Involution2d")
    },
}
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}

every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=list(LAYERS))


def random_bases(side: int) -> Tensor:
    return torch.randn(3, side, side)


class UNet(nn.Module):
    """One level down and up, with convolutions that are worth replacing."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 5, padding=2)
        self.up, self.out = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        skip = torch.relu(self.down(x))
        hidden = torch.relu(self.middle(torch.max_pool2d(skip, 2)))
        y: Tensor = self.out(torch.cat([self.up(hidden), skip], 1))
        return y


# Layouts in memory


@pytest.mark.parametrize("size", [(5, 6), (3, 3), (4, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("of_weight", FORMATS)
@pytest.mark.parametrize("of_input", FORMATS)
def test_output_lies_as_that_of_conv2d(
    of_input: str, of_weight: str, images: int, channels: int, size: tuple[int, int]
) -> None:
    """Inputs of one channel lie the same in both layouts: there strides decide, as for PyTorch."""
    conv, layer = nn.Conv2d(channels, 4, 3, padding=1), ACDAConv2d(channels, 4, 3, padding=1).eval()
    x = torch.randn(images, channels, *size).to(memory_format=FORMATS[of_input])
    expected = conv.to(memory_format=FORMATS[of_weight])(x)
    y = layer.to(memory_format=FORMATS[of_weight])(x)
    assert y.stride() == expected.stride()


@every_layer
@pytest.mark.parametrize("memory_format", FORMATS)
def test_flattening_by_view(make: Make, memory_format: str) -> None:
    """As in networks from before ``flatten``: a contiguous input gives a contiguous output."""
    layer = make(4, 6, 3, padding=1).eval()
    x = torch.randn(2, 4, 5, 7).to(memory_format=FORMATS[memory_format]).requires_grad_()
    y = layer(x)
    assert y.is_contiguous(memory_format=FORMATS[memory_format])
    contiguous = layer(x.contiguous())
    contiguous.view(2, -1).sum().backward()
    torch.testing.assert_close(y, contiguous)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("mode", ["compiled", "autocast", "exported"])
def test_layout_under(mode: str, memory_format: str) -> None:
    layer = ACDAConv2d(4, 6, 3, padding=1).eval()
    x = torch.randn(2, 4, 5, 7).to(memory_format=FORMATS[memory_format])
    with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"), torch.no_grad():
        if mode == "compiled":
            y = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
        elif mode == "exported":
            y = torch.export.export(layer, (x,)).module()(x)
        else:
            y = layer(x)
    assert y.is_contiguous(memory_format=FORMATS[memory_format])


# What Conv2d takes


@every_layer
def test_unbatched_and_empty_inputs(make: Make) -> None:
    layer = make(4, 6, 3, stride=2).eval()
    x = torch.randn(4, 7, 9)
    torch.testing.assert_close(layer(x), layer(x[None])[0])
    assert layer(torch.zeros(0, 4, 7, 9)).shape == (0, 6, 3, 4)


@every_layer
def test_numpy_integers(make: Make) -> None:
    layer = make(np.int64(4), np.int32(6), np.int16(3), (np.int64(2), 1), np.uint8(1))
    assert {type(n) for n in (layer.in_channels, layer.out_channels, *layer.kernel_size, *layer.stride)} == {int}
    assert layer(torch.zeros(1, 4, 6, 6)).shape == (1, 6, 3, 6)
    with pytest.raises(ValueError, match=r"in_channels must be an int, got 4\.0"):
        make(4.0, 6, 3)
    with pytest.raises(ValueError, match="out_channels must be an int, got '6'"):
        make(4, "6", 3)


def test_numpy_integers_of_acda() -> None:
    layer = ACDAConv2d(4, 6, 5, groups=np.int64(2), dilation=np.int64(2), num_atoms=np.int64(3), num_bases=np.int64(2))
    assert (layer.groups, layer.num_atoms, layer.bases.shape[0]) == (2, 3, 4)
    assert layer(torch.zeros(2, 4, 9, 9)).shape == (2, 6, 1, 1)


@every_layer
def test_copied_pruned_and_reparametrised(make: Make) -> None:
    layer = make(4, 6, 3).eval()
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))
    if isinstance(getattr(layer, "weight", None), nn.Parameter):
        before = layer(x)
        parametrizations.weight_norm(layer)
        torch.testing.assert_close(layer(x), before)
        pruned = make(4, 6, 3).eval()
        prune.random_unstructured(pruned, "weight", 0.5)
        assert torch.isfinite(pruned(x)).all()


# Forward mode


@every_layer
def test_jvp_against_finite_differences(make: Make) -> None:
    layer = make(4, 6, 3, padding=1, dtype=torch.float64).eval()
    x, v = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    if make is acda.DeformConv2d:
        with pytest.raises(NotImplementedError, match="DeformConv2d has derivatives in reverse mode alone"):
            jvp(layer, (x,), (v,))
        return
    step = 1e-6
    _, tangent = jvp(layer, (x,), (v,))
    torch.testing.assert_close(tangent, (layer(x + step * v) - layer(x - step * v)) / (2 * step), rtol=1e-6, atol=1e-7)


# Tracing


@every_layer
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_fx(make: Make, training: bool) -> None:
    network = nn.Sequential(make(4, 6, 3), nn.ReLU(), make(6, 5, 3)).train(training)
    traced = torch.fx.symbolic_trace(network)
    assert [node.op for node in traced.graph.nodes] == ["placeholder", *["call_module"] * 3, "output"]
    x = torch.randn(2, 4, 9, 8)
    for size in (x, x[..., :7]):
        torch.testing.assert_close(traced(size), network(size))


def test_feature_extractor() -> None:
    network = resnet18().eval()
    convert_conv2d(network, names="layer4.*")
    extracted = create_feature_extractor(network, {"layer3": "middle", "layer4.1.conv2": "last"})
    x = torch.randn(1, 3, 64, 64)
    features = extracted(x)
    seen: list[Tensor] = []
    network.layer4[1].conv2.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(x)
    torch.testing.assert_close(features["last"], seen[0])
    assert features["middle"].shape == (1, 256, 4, 4)


@every_layer
@pytest.mark.filterwarnings("error::torch.jit.TracerWarning:acda")
def test_jit_trace(make: Make) -> None:
    """What is traced is saved, loaded and gives the same on other images of the size."""
    network = nn.Sequential(make(4, 6, 3), nn.BatchNorm2d(6), make(6, 5, 3)).eval()
    x, other = torch.randn(2, 2, 4, 9, 8)
    with pytest.warns(FutureWarning, match=r"torch\.jit"):
        traced = torch.jit.trace(network, x)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        buffer.seek(0)
        loaded = torch.jit.load(buffer)
    torch.testing.assert_close(loaded(other), network(other))


def test_graph_in_tensorboard(tmp_path: Any) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_graph(nn.Sequential(ACDAConv2d(3, 4, 3), acda.DDFConv2d(4, 4, 3)), torch.randn(1, 3, 9, 9))
    (events,) = tmp_path.iterdir()
    assert b"adaptive" in events.read_bytes().lower() or b"acda" in events.read_bytes().lower()


# Loading


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ad_resnet_s": lambda: models.ad_resnet_s(num_classes=3),
    "CrowdCounter": lambda: models.CrowdCounter(models.ad_resnet_s(num_classes=None)),
    "DnCNN": models.DnCNN,
    "KPN": models.KPN,
    "LPKPN": models.LPKPN,
    "LeNet": lambda: models.LeNet(num_classes=3, conv=ACDAConv2d),
    "Restorer": lambda: models.Restorer(depth=1),
    "SRResNet": models.SRResNet,
    "SingleLayer": models.SingleLayer,
    "VDSR": models.VDSR,
    "VariationalDenoiser": lambda: models.VariationalDenoiser(models.DNet(), models.SNet()),
}


def assert_tensors_equal(left: nn.Module, right: nn.Module) -> None:
    """All parameters and buffers, those that are not saved too."""
    for of in ("named_parameters", "named_buffers"):
        ours, theirs = dict(getattr(left, of)()), dict(getattr(right, of)())
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("assign", [False, True], ids=["to_empty", "assign"])
@pytest.mark.parametrize("name", [*LAYERS, *NETWORKS])
def test_made_on_the_meta_device_and_loaded(name: str, assign: bool) -> None:
    """Whatever a network holds is in its state dict, or computed when that is loaded."""
    build = NETWORKS.get(name) or partial(LAYERS.get(name, ACDAConv2d), 4, 6, 5)
    trained = build()
    with torch.device("meta"):
        empty = build()
    if not assign:
        empty.to_empty(device="cpu")
        for tensor in (*empty.parameters(), *empty.buffers()):
            tensor.data.fill_(7)
    empty.load_state_dict(trained.state_dict(), assign=assign)
    assert_tensors_equal(empty, trained)


@pytest.mark.parametrize("bases", [None, identity_bases], ids=["Fourier-Bessel", "identity"])
def test_bases_are_computed_where_an_old_state_dict_lacks_them(bases: Any) -> None:
    trained = nn.Sequential(ACDAConv2d(4, 6, 5, bases=bases), ACDAConv2d(6, 6, 3, bases=bases))
    old = {name: tensor for name, tensor in trained.state_dict().items() if not name.endswith("bases")}
    with torch.device("meta"):
        empty = copy.deepcopy(trained).to("meta")
    empty.to_empty(device="cpu")
    assert empty.load_state_dict(old, strict=True)
    assert_tensors_equal(empty, trained)


def test_bases_drawn_at_random_are_the_layers_own() -> None:
    first, second = (ACDAConv2d(4, 6, 5, bases=random_bases) for _ in range(2))
    assert not torch.equal(first.bases, second.bases)
    second.load_state_dict(first.state_dict())
    assert_tensors_equal(first, second)
    before, state = first.bases.clone(), torch.get_rng_state()
    first.load_state_dict({name: tensor for name, tensor in first.state_dict().items() if name != "bases"})
    assert torch.equal(first.bases, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_trained_bases_are_loaded() -> None:
    layer = ACDAConv2d(4, 6, 5)
    bases = layer.bases
    del layer.bases
    layer.bases = nn.Parameter(bases)
    layer(torch.randn(2, 4, 6, 6)).square().sum().backward()
    with torch.no_grad():
        layer.bases -= layer.bases.grad
    other = ACDAConv2d(4, 6, 5)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.bases, layer.bases)


# Conversion


@pytest.mark.parametrize("network", [UNet, resnet18, convnext_tiny], ids=lambda network: network.__name__)
def test_converted_networks_keep_what_was_frozen(network: Callable[[], nn.Module]) -> None:
    model = network().eval()
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    frozen = convolutions[-1]
    model.get_submodule(frozen).requires_grad_(False)
    conversion = convert_conv2d(model, names=convolutions[-3:], where=lambda name, conv: conv.kernel_size != (1, 1))
    for name in {r.name for r in conversion.replaced}:
        layer = model.get_submodule(name)
        assert isinstance(layer, AdaptiveConvolution)
        assert not layer.training
        assert {p.requires_grad for p in layer.parameters()} == {name != frozen}
    line = next(line for line in str(conversion).splitlines() if frozen in line)
    assert ", frozen" in line


def test_a_frozen_weight_and_a_free_bias() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model[0].weight.requires_grad_(False)
    convert_conv2d(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["0.bias"]
