"""The convolutions that are compared, and the width by which a network has as many parameters with each of them."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

import acda
from benchmarks.machine import ROOT


class Convolution(NamedTuple):
    """A convolution, by its class in ``acda`` or PyTorch, and arguments of its own."""

    path: str
    arguments: dict[str, Any]

    @property
    def conv(self) -> Callable[..., nn.Module]:
        """The factory that a network takes."""
        name = self.path.rpartition(".")[2]
        return partial(getattr(acda if self.path.startswith("acda.") else nn, name), **self.arguments)

    def options(self, network: str) -> list[str]:
        """List the arguments of the command line that choose it.

        Args:
            network: Key of the network's arguments, such as ``--model.init_args.network.init_args``.
        """
        chosen = [f"{network}.conv={self.path}", *(f"{network}.conv.{k}={v}" for k, v in self.arguments.items())]
        return [*chosen, "--trainer.callbacks+=AnnealTemperature"] if self.path == "acda.DynamicConv2d" else chosen


CONVOLUTIONS = {
    "ACDA": Convolution("acda.ACDAConv2d", {}),
    "convolution": Convolution("torch.nn.Conv2d", {}),
    "CondConv": Convolution("acda.CondConv2d", {}),
    "dynamic convolution": Convolution("acda.DynamicConv2d", {}),
    "DFN": Convolution("acda.DynamicFilterConv2d", {"hidden_channels": 8}),  # with 64 no width is small enough
    "DDF": Convolution("acda.DDFConv2d", {}),
    "involution": Convolution("acda.Involution2d", {}),
    "deformable convolution": Convolution("acda.DeformConv2d", {}),
}


def parameters(make: Callable[[], nn.Module]) -> int:
    """Count the parameters of a network, which is not given memory."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make().parameters())


def match_width(make: Callable[[int], nn.Module], aim: int, widths: range) -> int:
    """Choose the width by which a network has most nearly as many parameters as it should.

    Args:
        make: Makes the network from its width; the wider, the more parameters.
        aim: Parameters.
        widths: To choose from.
    """

    def count(width: int) -> int:
        return parameters(lambda: make(width))

    enough = bisect_left(widths, aim, key=count)
    return min(widths[max(0, enough - 1) : enough + 1], key=lambda width: abs(count(width) - aim))


def network_in(config: str, changes: Mapping[str, Any] | None = None) -> nn.Module:
    """Make the network of an experiment.

    Args:
        config: The experiment's YAML file, relative to the repository, or an absolute path.
        changes: What a second file would change of it. Default: nothing.
    """
    parser = ArgumentParser()
    parser.add_subclass_arguments(nn.Module, "network")
    model = yaml.safe_load((ROOT / config).read_text())["model"]["init_args"]
    parsed = parser.parse_object({"network": model["network"]})
    if changes is not None:
        parsed = parser.parse_object({"network": changes}, cfg_base=parsed)
    made: nn.Module = parser.instantiate(parsed).network
    return made
