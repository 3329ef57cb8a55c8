"""Conversion of torchvision's networks and of a U-Net: what is chosen, what is kept, that the rest stays as it was."""

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from acda import ACDAConv2d, Conversion, DeformConv2d, convert_conv2d


class UNet(nn.Module):
    """Two levels: strided convolution down, transposed convolution up, a skip connection, dilated convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 4, 3, padding="same")
        self.down = nn.Sequential(nn.Conv2d(4, 8, 5, stride=2, padding=2, padding_mode="reflect"), nn.ReLU())
        self.bottom = nn.ModuleList([nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2, bias=False) for _ in range(2)])
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.leave = nn.ModuleDict({"merge": nn.Conv2d(8, 4, 3, padding=1), "head": nn.Conv2d(4, 2, 1)})

    def forward(self, x: Tensor) -> Tensor:
        skip = self.enter(x)
        y = self.down(skip)
        for conv in self.bottom:
            y = conv(y)
        return self.leave["head"](self.leave["merge"](torch.cat([skip, self.up(y)], dim=1)))


UNET_CONVERTED = ["enter", "down.0", "bottom.0", "bottom.1", "leave.merge"]


def names(conversion: Conversion) -> list[str]:
    return [r.name for r in conversion.replaced]


def adaptive(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, ACDAConv2d)]


def shapes(model: nn.Module, x: Tensor) -> list[tuple[int, ...]]:
    """Output shape of every direct part of a model, and of the model."""
    found: list[tuple[int, ...]] = []
    handles = [
        child.register_forward_hook(lambda m, i, out: found.append(tuple(out.shape)))
        for name, child in model.named_modules()
        if "generator" not in name and isinstance(child, nn.Conv2d | ACDAConv2d)
    ]
    found.append(tuple(model(x).shape))
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize(
    ("make", "patterns", "count"),
    [
        (torchvision.models.resnet18, "layer[34].*", 8),  # 2 stages × 2 blocks × 2 convolutions of 3×3
        (torchvision.models.resnet50, "layer[34].*", 9),  # 6 + 3 bottlenecks, one 3×3 each
        (torchvision.models.convnext_tiny, "*", 18),  # 3 + 3 + 9 + 3 blocks; stem and downsampling are 4×4 and 2×2
        (torchvision.models.efficientnet_b0, "*", 17),  # stem and 16 depthwise
    ],
)
def test_torchvision_networks(make: Callable[..., nn.Module], patterns: str, count: int) -> None:
    """On the meta device, where an image of any size costs nothing."""
    with torch.device("meta"):
        model, x = make(weights=None), torch.randn(2, 3, 64, 96)
    before = shapes(model, x)
    parameters = sum(p.numel() for p in model.parameters())
    conversion = convert_conv2d(model, names=patterns)
    assert conversion.model is model
    assert names(conversion) == adaptive(model)
    assert len(conversion.replaced) == count
    assert shapes(model, x) == before
    change = sum(r.after - r.before for r in conversion.replaced)
    assert sum(p.numel() for p in model.parameters()) == parameters + change
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_resnet18_runs() -> None:
    model = torchvision.models.resnet18(weights=None, num_classes=5)
    convert_conv2d(model, names="layer4.*")
    x = torch.randn(2, 3, 64, 64, requires_grad=True)
    loss = nn.functional.cross_entropy(model(x), torch.tensor([1, 4]))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_unet() -> None:
    model, x = UNet(), torch.randn(2, 1, 12, 14)
    before = shapes(model, x)
    conversion = convert_conv2d(model, num_atoms=3, num_bases=4)
    assert names(conversion) == UNET_CONVERTED == adaptive(model)
    assert conversion.kept == {"leave.head": "1×1 kernel has no neighbours to adapt to"}
    assert shapes(model, x) == before
    model(x).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(getattr(model.get_submodule(name), "num_atoms", None) == 3 for name in UNET_CONVERTED)


def test_geometry_is_kept() -> None:
    original, model = UNet(), UNet()
    convert_conv2d(model)
    for name in UNET_CONVERTED:
        conv, layer = original.get_submodule(name), model.get_submodule(name)
        for attribute in ("in_channels", "out_channels", "kernel_size", "stride", "dilation", "groups", "padding_mode"):
            assert getattr(layer, attribute) == getattr(conv, attribute), (name, attribute)
        assert (layer.bias is None) == (conv.bias is None)
    assert model.enter.padding == (1, 1)  # what "same" is for 3×3


@pytest.mark.parametrize(
    ("selection", "chosen", "reasons"),
    [
        ({"names": "bottom.*"}, ["bottom.0", "bottom.1"], r"matches none of names=\['bottom.\*'\]"),
        (
            {"names": ["enter", "leave*"]},
            ["enter", "leave.merge"],
            r"matches none of names=\['enter', 'leave\*'\]|1×1 kernel.*",
        ),
        ({"depth": (0.5, 1.0)}, ["bottom.1", "leave.merge"], r"at depth 0\.\d\d, outside \(0.5, 1.0\)|1×1 kernel.*"),
        ({"depth": (0.0, 0.0)}, ["enter"], r"at depth (0\.\d\d|1.00), outside \(0.0, 0.0\)"),
        ({"where": lambda name, conv: conv.in_channels == 4}, ["down.0"], "not chosen by where|1×1 kernel.*"),
        ({"where": lambda name, conv: name == "enter"}, ["enter"], "not chosen by where"),
        ({"names": "bottom.*", "depth": (0, 0.5)}, ["bottom.0"], r"matches none .*|at depth 0.60, outside \(0, 0.5\)"),
    ],
)
def test_selection(selection: dict[str, Any], chosen: list[str], reasons: str) -> None:
    model = UNet()
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    conversion = convert_conv2d(model, **selection)
    assert names(conversion) == chosen == adaptive(model)
    assert set(conversion.kept) == set(convolutions) - set(chosen)
    for reason in conversion.kept.values():
        assert re.fullmatch(reasons, reason)


def test_name_that_matches_nothing_is_refused() -> None:
    """A misspelt pattern would otherwise leave the network as it is, unnoticed."""
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3))
    with pytest.raises(ValueError, match=r"names='layer\*' matches none of the model's convolutions: 0, 1"):
        convert_conv2d(model, names=["0", "layer*"])
    assert all(type(module) is nn.Conv2d for module in model)


def test_what_has_no_adaptive_form_is_kept_with_its_reason() -> None:
    class Special(nn.Conv2d):
        pass

    model = nn.ModuleDict(
        {
            "one": nn.Conv2d(2, 2, 1),
            "even": nn.Conv2d(2, 2, 4),
            "oblong": nn.Conv2d(2, 2, (3, 5)),
            "special": Special(2, 2, 3),
            "parametrized": nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3)),
            "hooked": nn.Conv2d(2, 2, 3),
            "other": nn.ConvTranspose2d(2, 2, 3),
        }
    )
    model["hooked"].register_forward_hook(lambda *_: None)
    modules = dict(model.named_modules())
    conversion = convert_conv2d(model)
    assert not conversion.replaced
    assert conversion.kept == {
        "one": "1×1 kernel has no neighbours to adapt to",
        "even": "4×4 kernel is not odd and square",
        "oblong": "3×5 kernel is not odd and square",
        "special": "is a Special, not a plain Conv2d",
        "parametrized": "is a ParametrizedConv2d, not a plain Conv2d",
        "hooked": "has hooks, which a replacement would lose",
    }
    assert dict(model.named_modules()) == modules


def test_shared_modules_remain_shared() -> None:
    conv = nn.Conv2d(2, 2, 3, padding=1)
    block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1))
    model = nn.Sequential(conv, nn.ReLU(), conv, block, block)
    conversion = convert_conv2d(model, norm=None)
    assert isinstance(model[0], ACDAConv2d)
    assert model[0] is model[2]
    assert model[3] is model[4]
    assert isinstance(model[3][0], ACDAConv2d)
    assert names(conversion) == ["0", "2", "3.0", "4.0"]
    assert model[0] is not model[3][0]
    assert model(torch.randn(1, 2, 5, 5)).shape == (1, 2, 5, 5)


def test_a_model_that_is_a_convolution() -> None:
    conv = nn.Conv2d(2, 3, 5, padding=2)
    conversion = convert_conv2d(conv)
    assert isinstance(conversion.model, ACDAConv2d)
    assert names(conversion) == [""]
    assert conversion.model(torch.randn(2, 2, 6, 6)).shape == (2, 3, 6, 6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_bases": 7}, ValueError, "num_bases=7 is more than scale 3 can carry, at most 6"),
        ({"scales": (3, 5)}, ValueError, r"scales must .* kernel_size=3, got \(3, 5\)"),
        ({"atoms": 4}, TypeError, "atoms"),
        ({"depth": (0.8, 0.2)}, ValueError, r"depth must be a range within 0 to 1, got \(0.8, 0.2\)"),
        ({"depth": (0, 2)}, ValueError, r"depth must be a range within 0 to 1, got \(0, 2\)"),
    ],
)
def test_a_refused_option_leaves_the_model_untouched(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Also where the first convolution could have been made and a later one could not."""
    model = nn.Sequential(nn.Conv2d(2, 2, 7), nn.Conv2d(2, 2, 3))
    if "num_bases" in options:
        convert_conv2d(copy.deepcopy(model), names="0", scales=(7,), **options)  # it is the 3×3 that refuses
    modules = list(model.modules())
    with pytest.raises(error, match=message):
        convert_conv2d(model, **options)
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))


def test_converting_twice_changes_nothing_more() -> None:
    """The convolutions inside a generator are not converted, and not listed as kept."""
    model = UNet()
    convert_conv2d(model, generator_kernel_sizes=(3, 3))
    modules = list(model.modules())
    again = convert_conv2d(model)
    assert not again.replaced
    assert list(again.kept) == ["leave.head"]
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))
    root = convert_conv2d(ACDAConv2d(2, 2, 3, generator_kernel_sizes=(3, 3)))
    assert not root.replaced
    assert not root.kept


@pytest.mark.parametrize("training", [True, False])
def test_device_dtype_and_mode_are_kept(training: bool) -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 2, 3, dtype=torch.float64), nn.Conv2d(2, 2, 3, device="meta", dtype=torch.bfloat16)
    ).train(training)
    convert_conv2d(model)
    for layer, device, dtype in zip(model, ("cpu", "meta"), (torch.float64, torch.bfloat16), strict=True):
        floats = [t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
        assert {(t.device.type, t.dtype) for t in floats} == {(device, dtype)}
        assert all(module.training == training for module in layer.modules())


def test_other_layers_can_be_built() -> None:
    def plain(*args: Any, **kwargs: Any) -> nn.Module:
        return nn.Conv2d(*args, **kwargs)

    model = UNet()
    old = model.enter
    conversion = convert_conv2d(model, names="enter", layer=plain)
    assert type(model.enter) is nn.Conv2d
    assert model.enter is not old
    assert conversion.replaced[0].before == conversion.replaced[0].after == 4 * 9 + 4


def test_report_sums_parameters() -> None:
    """3×3, 2 → 4 channels: weight 2·4·m + bias 4; generator 2·64 + 64·6m·9 and a norm's two a channel."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 1, 1))
    conversion = convert_conv2d(model, num_atoms=2)
    before, after = 2 * 4 * 9 + 4, (2 * 4 * 2 + 4) + (2 * 64 + 64 * 12 * 9) + 2 * (64 + 12)
    (replacement,) = conversion.replaced
    assert (replacement.before, replacement.after) == (before, after)
    first, kept, total = str(conversion).splitlines()
    assert first.startswith("replaced 0: ACDAConv2d(2, 4, kernel_size=3")
    assert first.endswith(f"{before} → {after:,} parameters")
    assert kept == "kept 1: 1×1 kernel has no neighbours to adapt to"
    assert total == f"1 replaced ({before} → {after:,} parameters), 1 kept"


def test_convolutions_inside_other_adaptive_layers_are_left_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), DeformConv2d(4, 4, 3))
    assert names(convert_conv2d(model)) == ["0"]
    assert isinstance(model[1], DeformConv2d)
    assert not adaptive(model[1])
