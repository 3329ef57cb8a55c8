"""A training step of a network with ACDA against the same network with plain convolutions of the same filters.

``python -m benchmarks.speed.network --csv benchmarks/results/network.csv``
``python -m benchmarks.speed.network --device cuda --dtype bfloat16 --batch 256 --size 224``

Networks are Ad-ResNet-s with plain convolutions, with ACDA and with per-pixel dynamic filters (paper Table 7), and a
ResNet-18 with large filters, converted.

A step is forward, cross entropy, backward and SGD with momentum, channels last; in other dtypes than float32 under
autocast. The output of every adaptive layer is checked against the float64 truth beforehand.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acda import ACDAConv2d, DynamicFilterConv2d, convert_conv2d
from acda.analysis import cost
from acda.models import ad_resnet_s
from benchmarks import records
from benchmarks.speed import timing
from benchmarks.speed.forms import published, verdict

NUM_CLASSES = 1000
_TINY = (2, 64)  # batch and side of a step that warms up
_HEADINGS = {
    "network": "network",
    "convolution": "convolution",
    "plain_step": "time ÷ plain",
    "plain_memory": "memory ÷ plain",
    "images_per_s": "images/s",
    "step_ms": "step ms",
    "parameters": "parameters",
    "macs": "MACs/image",
    "step_mib": "peak extra MiB",
    "status": "status",
}


def _plain_resnet18() -> nn.Module:
    """Make ResNet-18 of torchvision with 7×7 filters in layer3 and 5×5 in layer4, as Ad-ResNet has them."""
    from torchvision.models import resnet18  # type: ignore[import-untyped]  # only this benchmark needs it

    plain: nn.Module = resnet18(num_classes=NUM_CLASSES)
    for stage, side in ((plain.layer3, 7), (plain.layer4, 5)):
        for block in stage:  # type: ignore[union-attr]
            for name in ("conv1", "conv2"):
                conv = getattr(block, name)
                size = (conv.in_channels, conv.out_channels, side, conv.stride, side // 2)
                setattr(block, name, nn.Conv2d(*size, bias=False))
    return plain


def _adaptive_resnet18() -> nn.Module:
    return convert_conv2d(_plain_resnet18(), names=["layer3.*.conv?", "layer4.*.conv?"]).model


# Name → how to build the network with each convolution, "plain" first.
NETWORKS: dict[str, Mapping[str, Callable[[], nn.Module]]] = {
    "ad_resnet_s": {
        "plain": partial(ad_resnet_s, NUM_CLASSES, conv=nn.Conv2d),
        "acda": partial(ad_resnet_s, NUM_CLASSES),
        "dfn": partial(ad_resnet_s, NUM_CLASSES, conv=DynamicFilterConv2d),
    },
    "resnet18": {"plain": _plain_resnet18, "acda": _adaptive_resnet18},
}
# Paper Table 7, ImageNet on four GPUs: parameters in millions, memory, seconds of an iteration.
PAPER = {
    "plain": (4.60, "3.7 GB × 4", "0.53"),
    "dfn": (2.32, "out of memory", "-"),
    "acda": (2.28, "4.6 GB × 4", "0.46"),
}


class Setup(NamedTuple):
    """Size of a step, and where and how it computes."""

    network: str
    batch: int
    size: int
    dtype: torch.dtype
    device: str

    def build(self, convolution: str) -> nn.Module:
        """Make the network with a convolution, in training mode."""
        torch.manual_seed(0)
        network = NETWORKS[self.network][convolution]().to(self.device)
        return network.to(memory_format=torch.channels_last).train()

    def outline(self, convolution: str) -> nn.Module:
        """Make the same on the meta device, without memory."""
        with torch.device("meta"):
            return NETWORKS[self.network][convolution]()

    def least_bytes(self, convolution: str) -> int:
        """Count bytes: parameters with gradients and momentum, and per-pixel filters, if any, with their gradients."""
        outline = self.outline(convolution)
        filters: list[int] = []

        def count(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(layer, DynamicFilterConv2d)
            filters.append(layer.filter_bytes(inputs[0].shape) * self.dtype.itemsize // 4)

        for layer in outline.modules():
            if isinstance(layer, DynamicFilterConv2d):
                layer.register_forward_pre_hook(count)
        with torch.no_grad():
            outline(torch.empty(self.batch, 3, self.size, self.size, device="meta"))
        return 3 * sum(p.numel() * p.element_size() for p in outline.parameters()) + 2 * sum(filters)

    def autocast(self) -> torch.autocast:
        """Autocast where the dtype is not float32."""
        return torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32)

    def images(self) -> Tensor:
        """Draw random images."""
        images = torch.randn(self.batch, 3, self.size, self.size, device=self.device)
        return images.contiguous(memory_format=torch.channels_last)

    def step(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> timing.Run:
        """Set up a training step."""
        images, labels = self.images(), torch.randint(NUM_CLASSES, (self.batch,), device=self.device)

        def run() -> None:
            optimizer.zero_grad(set_to_none=True)
            with self.autocast():
                loss = F.cross_entropy(net(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()

        return run


def optimizer_of(net: nn.Module) -> torch.optim.Optimizer:
    """Make SGD with momentum, which has one tensor of state for each parameter."""
    return torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)


def prepare(setup: Setup, convolution: str) -> tuple[timing.Run, timing.Run]:
    """Set up a network's step, and the same for two small images; for :func:`timing.peak_extra_mib`."""
    net = setup.build(convolution)
    optimizer = optimizer_of(net)
    batch, size = _TINY
    tiny = setup._replace(batch=batch, size=size).step(net, optimizer)

    def warm_up() -> None:
        tiny()
        optimizer.zero_grad(set_to_none=True)  # gradients are part of what a step needs, momentum is not

    return setup.step(net, optimizer), warm_up


def check(setup: Setup, net: nn.Module) -> str:
    """Compare the output of every adaptive layer, for one image, with the published form in float64.

    Returns:
        ``"ok"``, or the first layer that is wrong, as :func:`benchmarks.speed.forms.verdict` says it.
    """
    verdicts: dict[str, str] = {}

    def compare(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
        assert isinstance(layer, ACDAConv2d)
        x, coefficients = inputs[0].double(), layer.coefficients(inputs[0]).double()
        bias = None if layer.bias is None else layer.bias.double()
        geometry = (layer.padding[0], layer.stride[0])
        true = published(x, coefficients, layer.bases.double(), layer.weight.double(), bias, *geometry)
        verdicts[name] = verdict({"y": y}, {"y": true}, setup.dtype)

    adaptive = {name: module for name, module in net.named_modules() if isinstance(module, ACDAConv2d)}
    hooks = [module.register_forward_hook(partial(compare, name)) for name, module in adaptive.items()]
    net.eval()
    with torch.no_grad(), setup.autocast():
        net(setup._replace(batch=1).images())
    net.train()
    for hook in hooks:
        hook.remove()
    return next((f"{text} (y of {name})" for name, text in verdicts.items() if text != "ok"), "ok")


def measure(setup: Setup, options: argparse.Namespace) -> list[records.Row]:
    """Check, then time a network's training step with each convolution.

    Returns:
        A row for each; one that is wrong has no time.
    """
    names = NETWORKS[setup.network]
    refused = {name: timing.refusal(setup.least_bytes(name), options.device) for name in names}
    status = {name: reason for name, reason in refused.items() if reason is not None}
    nets = {name: setup.build(name) for name in names if name not in status}
    status |= {name: check(setup, net) for name, net in nets.items()}
    shape = (1, 3, setup.size, setup.size)
    costs = {name: cost(setup.outline(name).eval(), shape) for name in names}
    runs = {name: setup.step(net.train(), optimizer_of(net)) for name, net in nets.items() if status[name] == "ok"}
    times = timing.time_kinds({"step": runs}, options.rounds, options.device)
    rows = []
    for name in names:
        row: records.Row = {**records.setting(options), "network": setup.network, "convolution": name}
        row |= {"batch": setup.batch, "size": setup.size, "status": status[name]}
        row |= {"parameters": costs[name].parameters, "macs": costs[name].macs, **times.get(name, {})}
        milliseconds = records.number(row, "step_ms")
        row["images_per_s"] = None if milliseconds is None else 1e3 * setup.batch / milliseconds
        if options.memory and row["status"] == "ok":
            row["step_mib"] = timing.peak_extra_mib(prepare, (setup, name), options.device)
        rows.append(row)
    for row in rows:
        row["plain_step"] = records.ratio(row, rows[0], "step_ms")
        row["plain_memory"] = records.ratio(row, rows[0], "step_mib")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.parser("speed.network", __doc__)
    parser.add_argument("--network", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS), help="default: all")
    parser.add_argument("--batch", type=int, default=8, help="images in a step (default 8)")
    parser.add_argument("--size", type=int, default=128, help="side of an image in pixels (default 128)")
    options = records.parse(parser, arguments)
    rows: list[records.Row] = []
    with timing.equal_terms():
        for network in options.network:
            setup = Setup(network, options.batch, options.size, options.dtype, options.device.type)
            rows += measure(setup, options)
            if options.csv is not None:
                records.write(options.csv, rows)
    print(records.table(rows, _HEADINGS))
    print("\nPaper, Table 7 (a network of other widths): parameters, memory, time of an iteration")
    for name, (millions, memory, seconds) in PAPER.items():
        print(f"{name:5}  {millions:.2f} M  {memory}  {seconds} s")


if __name__ == "__main__":
    main()
