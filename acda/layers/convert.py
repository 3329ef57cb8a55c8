"""Replaces the convolutions of any network by adaptive ones of the same geometry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from torch import nn

from acda.layers.acda import ACDAConv2d
from acda.layers.adaptive_convolution import AdaptiveConvolution


@dataclass(frozen=True)
class Replacement:
    """One convolution that was replaced: its name, what stands there now, parameters before and after."""

    name: str
    layer: str
    before: int
    after: int


@dataclass
class Conversion:
    """What :func:`convert_conv2d` did.

    Attributes:
        model: The converted model: the one given, unless that was itself a convolution.
        replaced: The convolutions replaced, in the model's order.
        kept: The others by name, each with the reason.
    """

    model: nn.Module
    replaced: list[Replacement] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Give a line for each convolution and one for the sum."""
        lines = [f"replaced {r.name}: {r.layer}, {r.before:,} → {r.after:,} parameters" for r in self.replaced]
        lines += [f"kept {name}: {reason}" for name, reason in self.kept.items()]
        before, after = sum(r.before for r in self.replaced), sum(r.after for r in self.replaced)
        lines.append(f"{len(self.replaced)} replaced ({before:,} → {after:,} parameters), {len(self.kept)} kept")
        return "\n".join(lines)


def _num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _unsuited(conv: nn.Conv2d) -> str | None:
    """Why this convolution has no adaptive form, or None."""
    if type(conv) is not nn.Conv2d:
        return f"is a {type(conv).__name__}, not a plain Conv2d"
    height, width = conv.kernel_size
    if (height, width) == (1, 1):
        return "1×1 kernel has no neighbours to adapt to"
    if height != width or height % 2 == 0:
        return f"{height}×{width} kernel is not odd and square"
    if conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or conv._backward_pre_hooks:
        return "has hooks, which a replacement would lose"
    return None


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """Convolutions by name, shared ones under each of their names, without those inside adaptive layers."""
    modules = dict(model.named_modules(remove_duplicate=False))
    adaptive = [
        f"{name}." if name else "" for name, module in modules.items() if isinstance(module, AdaptiveConvolution)
    ]
    return {
        name: module
        for name, module in modules.items()
        if isinstance(module, nn.Conv2d) and not any(name.startswith(prefix) for prefix in adaptive)
    }


def _make_like(conv: nn.Conv2d, layer: Callable[..., nn.Module], options: Mapping[str, Any]) -> nn.Module:
    """Make a layer of the geometry, device, dtype and mode of a convolution, frozen where that is."""
    made = layer(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
        **options,
    ).train(conv.training)
    made.requires_grad_(conv.weight.requires_grad)
    bias = getattr(made, "bias", None)
    if conv.bias is not None and isinstance(bias, nn.Parameter):
        bias.requires_grad_(conv.bias.requires_grad)
    return made


def convert_conv2d(
    model: nn.Module,
    where: Callable[[str, nn.Conv2d], bool] | None = None,
    names: str | Sequence[str] | None = None,
    depth: tuple[float, float] = (0.0, 1.0),
    layer: Callable[..., nn.Module] = ACDAConv2d,
    **options: Any,
) -> Conversion:
    """Replace chosen ``Conv2d`` modules of a model, in place, by adaptive ones of the same geometry.

    The new layers have new weights, and the device, dtype and mode of those they replace; where these are frozen they
    are, too, and the report says so. Nothing is changed if any of them cannot be made.

    Args:
        model: Any network.
        where: Called with a convolution's name and module; replaces it where true. Default: all.
        names: Shell patterns such as ``"layer3.*"``, of which a name must match one. Default: all.
        depth: Part of the network by position among its convolutions, from 0, the first, to 1, the last; the paper
            replaces deep ones.
        layer: What to build, called with the arguments of ``Conv2d`` and ``options``.
        **options: Further arguments of ``layer``, such as ``num_atoms=4`` or ``norm=None``.

    Returns:
        The model and what was replaced and kept, each with its reason; print it.

    Raises:
        ValueError: If ``depth`` is no range within 0 to 1, one of ``names`` matches no convolution, or ``layer``
            refuses its arguments.
        TypeError: If ``layer`` does not know an option.

    Example:
        >>> conversion = convert_conv2d(torchvision.models.resnet50(), names="layer[34].*")
        >>> print(conversion)
    """
    if not 0 <= depth[0] <= depth[1] <= 1:
        raise ValueError(f"depth must be a range within 0 to 1, got {depth}")
    patterns = [names] if isinstance(names, str) else names
    convolutions = _convolutions(model)
    for pattern in patterns or ():
        if not any(fnmatch(name, pattern) for name in convolutions):
            raise ValueError(f"names={pattern!r} matches none of the model's convolutions: {', '.join(convolutions)}")
    positions = {id(conv): i for i, conv in enumerate(dict.fromkeys(convolutions.values()))}
    made: dict[int, nn.Module] = {}
    conversion = Conversion(model)
    for name, conv in convolutions.items():
        position = positions[id(conv)] / max(1, len(positions) - 1)
        if patterns is not None and not any(fnmatch(name, pattern) for pattern in patterns):
            reason: str | None = f"matches none of names={patterns}"
        elif not depth[0] <= position <= depth[1]:
            reason = f"at depth {position:.2f}, outside {depth}"
        elif where is not None and not where(name, conv):
            reason = "not chosen by where"
        else:
            reason = _unsuited(conv)
        if reason is not None:
            conversion.kept[name] = reason
            continue
        if id(conv) not in made:
            made[id(conv)] = _make_like(conv, layer, options)
        new = made[id(conv)]
        frozen = "" if conv.weight.requires_grad else ", frozen"
        title = f"{type(new).__name__}({new.extra_repr()}){frozen}"
        conversion.replaced.append(Replacement(name, title, _num_parameters(conv), _num_parameters(new)))
    for replacement in conversion.replaced:
        new = made[id(convolutions[replacement.name])]
        if replacement.name == "":
            conversion.model = new
        else:
            parent, _, child = replacement.name.rpartition(".")
            setattr(model.get_submodule(parent), child, new)
    return conversion
