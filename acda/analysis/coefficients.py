"""Which scales the filters use where: the coefficient heat maps of the paper's Figure 7."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from acda.bases import basis_scales
from acda.layers import ACDAConv2d


def scale_magnitudes(coefficients: Tensor, bases: Tensor) -> dict[int, Tensor]:
    """Magnitude of the coefficients at each pixel, for each scale.

    Args:
        coefficients: ``[N, m, K, H, W]``, as :meth:`acda.ACDAConv2d.coefficients` gives them.
        bases: ``[K, l, l]``, whose extent tells the scale of each coefficient.

    Returns:
        For each scale (side of the square its bases cover, ascending) a map ``[N, H, W]``: the root mean square over
        all atoms and bases of that scale, from 0 to 1.

    Reference:
        Paper Figure 7.
    """
    scales = basis_scales(bases)
    of_basis = torch.tensor(scales, device=coefficients.device)
    energy = coefficients.detach().float().square().mean(dim=1)
    return {scale: energy[:, of_basis == scale].mean(dim=1).sqrt() for scale in sorted(set(scales))}


@contextmanager
def capture_scale_magnitudes(model: nn.Module) -> Iterator[dict[str, dict[int, Tensor]]]:
    """Collect :func:`scale_magnitudes` of every ACDA layer in a network while it runs.

    Args:
        model: Any network.

    Yields:
        A dictionary that fills as the network runs: name of the layer → scale → map ``[N, H, W]``.

    Example:
        >>> with capture_scale_magnitudes(model) as maps:
        ...     model(image)
        >>> maps["conv1"][7].shape
    """
    maps: dict[str, dict[int, Tensor]] = {}

    def watch(name: str, layer: ACDAConv2d) -> torch.utils.hooks.RemovableHandle:
        def collect(generator: nn.Module, inputs: tuple[Tensor, ...], coefficients: Tensor) -> None:
            maps[name] = scale_magnitudes(coefficients, layer.bases)

        return layer.generator.register_forward_hook(collect)

    handles = [watch(name, layer) for name, layer in model.named_modules() if isinstance(layer, ACDAConv2d)]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
