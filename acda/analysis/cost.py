"""What a layer or a network costs: multiply-accumulates, parameters, bytes kept for backward.

Networks are measured on torch's meta device, where tensors have shapes but no data, so any size costs nothing.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acda.layers.adaptive_convolution import AdaptiveConvolution


def conv2d_macs(in_channels: int, out_channels: int, kernel_size: int, height: int, width: int) -> int:
    """Multiply-accumulates of a convolution as the paper counts them: ``hw(c'cl² + c)``, the bias as one each.

    Reference:
        Paper Table 6, row "Conv".
    """
    return height * width * (in_channels * out_channels * kernel_size**2 + out_channels)


def acda_macs(
    in_channels: int, out_channels: int, kernel_size: int, height: int, width: int, num_atoms: int = 6
) -> int:
    """Multiply-accumulates of the two-layer convolution alone: ``hw(c'ml² + c'mc + c)``.

    Reference:
        Paper Table 6, row "ACDA (conv only)".
    """
    atom_convolution = in_channels * num_atoms * kernel_size**2
    coefficient_convolution = in_channels * num_atoms * out_channels
    return height * width * (atom_convolution + coefficient_convolution + out_channels)


def generator_macs(
    in_channels: int,
    num_coefficients: int,
    kernel_size: int,
    height: int,
    width: int,
    hidden_channels: int = 64,
    generator_kernel_sizes: tuple[int, int] = (1, 3),
) -> int:
    """Multiply-accumulates of generating atoms at stride 1: two convolutions, then ``D = αψ``.

    Args:
        in_channels: c'.
        num_coefficients: m · K, coefficients per pixel.
        kernel_size: l.
        height: Of the output, in pixels.
        width: Of the output, in pixels.
        hidden_channels: d.
        generator_kernel_sizes: l_a, l_b.
    """
    first, second = generator_kernel_sizes
    convolutions = in_channels * hidden_channels * first**2 + hidden_channels * num_coefficients * second**2
    return height * width * (convolutions + num_coefficients * kernel_size**2)


@dataclass(frozen=True)
class Cost:
    """Cost of one pass through a module.

    Attributes:
        macs: Multiply-accumulates of forward; element-wise work and biases are not counted.
        parameters: Trainable and frozen ones.
        saved_bytes: Kept from forward for backward, beside parameters and buffers.
    """

    macs: int
    parameters: int
    saved_bytes: int


def _on_meta(module: nn.Module, input_shape: Sequence[int]) -> tuple[nn.Module, Tensor]:
    dtype = next((p.dtype for p in module.parameters()), torch.get_default_dtype())
    return copy.deepcopy(module).to("meta"), torch.empty(*input_shape, device="meta", dtype=dtype, requires_grad=True)


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def cost(module: nn.Module, input_shape: Sequence[int]) -> Cost:
    """Cost of a layer or a network in its present mode, at any size and without its memory.

    Args:
        module: Takes one tensor.
        input_shape: Of that tensor, such as ``(1, 256, 100, 100)``.

    Returns:
        Multiply-accumulates, parameters, bytes saved for backward.

    Example:
        >>> cost(ACDAConv2d(256, 256, 7, padding=3), (1, 256, 100, 100)).macs
        5523640000
    """
    from torch.utils.flop_counter import FlopCounterMode

    meta, x = _on_meta(module, input_shape)
    static = {t.untyped_storage()._cdata for t in (*meta.parameters(), *meta.buffers())}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        meta(x)
    saved_bytes = sum(t.untyped_storage().nbytes() for key, t in saved.items() if key not in static)
    return Cost(counter.get_total_flops() // 2, _parameters(module), saved_bytes)


@dataclass(frozen=True)
class LayerCost:
    """One row of :func:`cost_by_layer`: a leaf layer, its output shape, multiply-accumulates and parameters."""

    name: str
    layer: str
    output_shape: tuple[int, ...]
    macs: int
    parameters: int


def cost_by_layer(
    model: nn.Module, input_shape: Sequence[int], leaves: tuple[type[nn.Module], ...] = (AdaptiveConvolution,)
) -> list[LayerCost]:
    """Multiply-accumulates and parameters of each layer of a network, in the order in which they run.

    Args:
        model: Takes one tensor.
        input_shape: Of that tensor.
        leaves: Modules to report whole, beside those that have no children.

    Returns:
        A row for each layer that has parameters, each time it runs.
    """
    from torch.utils.flop_counter import FlopCounterMode

    meta, x = _on_meta(model, input_shape)
    counter = FlopCounterMode(display=False)
    rows: list[LayerCost] = []
    started: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> None:
        def before(module: nn.Module, inputs: tuple[object, ...]) -> None:
            started[name] = counter.get_total_flops()

        def after(module: nn.Module, inputs: tuple[object, ...], output: Tensor) -> None:
            macs = (counter.get_total_flops() - started[name]) // 2
            rows.append(LayerCost(name, type(module).__name__, tuple(output.shape), macs, _parameters(module)))

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    whole: list[str] = []
    for name, module in meta.named_modules():
        inside = any(outer == "" or name.startswith(f"{outer}.") for outer in whole)
        if not inside and _parameters(module) and (isinstance(module, leaves) or not any(module.children())):
            whole.append(name)
            watch(name, module)
    with counter, torch.no_grad():
        meta(x.detach())  # of a view of what needs a gradient, made without gradients, the counter's hooks find none
    return rows
