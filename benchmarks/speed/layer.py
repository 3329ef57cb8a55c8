"""The layer, generator included, against the plain convolution of the same channels and filter.

``python -m benchmarks.speed.layer --csv benchmarks/results/layer.csv``

Forward is in eval mode without gradients, a step is forward and backward in training mode, BatchNorm included. The
generator and the operator are also timed alone. Inputs and convolutions are channels last; in other dtypes than float32
autocast chooses, as in training, and parameters stay float32.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from acda import ACDAConv2d, adaptive_conv2d
from benchmarks import records
from benchmarks.speed import timing
from benchmarks.speed.forms import Problem, Shape, published, truth, verdict
from benchmarks.speed.operator import DEFAULT_SHAPES, KINDS

LAYER = "ACDAConv2d"
_HEADINGS = {
    "shape": "shape",
    "part": "part",
    "conv2d_forward": "time ÷ conv2d: forward",
    "conv2d_step": "step",
    "share_forward": "share of the layer: forward",
    "share_step": "step",
    "forward_ms": "forward ms",
    "step_ms": "step ms",
    "step_mib": "peak extra MiB (step)",
    "status": "status",
}


class Part(NamedTuple):
    """What is measured: a function of tensors, and the module whose parameters and mode it depends on."""

    function: Callable[..., Tensor]
    inputs: Sequence[Tensor]
    dtype: torch.dtype
    module: nn.Module

    def output(self) -> Tensor:
        """Compute the output in the module's present mode."""
        with torch.autocast(self.inputs[0].device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.function(*self.inputs)

    def forward(self) -> Tensor:
        """Compute the output in eval mode, without what backward needs."""
        self.module.eval()
        with torch.no_grad():
            return self.output()

    def step(self) -> timing.Run:
        """Set up forward and backward in training mode, to inputs and parameters."""
        y = self.forward()
        grad = torch.randn_like(y)  # keeps the layout
        leaves = [*self.inputs, *self.module.parameters()]

        def run() -> tuple[Tensor, ...]:
            self.module.train()
            return torch.autograd.grad(self.output(), leaves, grad)

        return run

    def runs(self) -> dict[str, timing.Run]:
        """Return what to time, by kind of run."""
        return {"forward": self.forward, "step": self.step()}


def parts(shape: Shape, dtype: torch.dtype, device: torch.device) -> dict[str, Part]:
    """Make the plain convolution, the layer, and the layer's two halves.

    Args:
        shape: Size of the input.
        dtype: Of the input, and what autocast computes in.
        device: Where all lie.

    Returns:
        Name → part.
    """
    torch.manual_seed(0)
    images, channels, height, width, side = shape
    plain = nn.Conv2d(channels, channels, side, padding=side // 2)
    layer = ACDAConv2d(channels, channels, side, padding=side // 2)
    assert layer.bias is not None
    for module in (plain, layer):
        module.to(device).to(memory_format=torch.channels_last)
    x = torch.randn(images, channels, height, width).to(device, dtype, memory_format=torch.channels_last)
    x.requires_grad_()
    coefficients = Part(layer.coefficients, (x,), dtype, layer).forward().requires_grad_()

    def operator(x: Tensor, coefficients: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return adaptive_conv2d(x, coefficients, layer.bases, weight, bias, padding=side // 2)

    operands = (x, coefficients, layer.weight, layer.bias)
    return {
        "conv2d": Part(plain, (x,), dtype, plain),
        LAYER: Part(layer, (x,), dtype, layer),
        "generator": Part(layer.generator, (x,), dtype, layer.generator),
        "operator": Part(operator, operands, dtype, nn.Identity()),
    }


def check(shape: Shape, dtype: torch.dtype, device: torch.device) -> str:
    """Compare the layer's output, and the operator's gradients within it, with the truth.

    Returns:
        As :func:`benchmarks.speed.forms.verdict`.
    """
    timing.progress(f"check at {shape}")
    found = parts(shape, dtype, device)
    layer = found[LAYER].module
    assert isinstance(layer, ACDAConv2d)
    y = found[LAYER].forward()
    x, coefficients, weight, bias = found["operator"].inputs
    problem = Problem(x, coefficients, layer.bases, weight, bias, layer.padding[0], torch.randn_like(y))

    def form(*operands: object) -> Tensor:
        return found["operator"].output()

    results = {**problem.step(form), "y": y}
    timing.progress("")
    return verdict(results, truth(published, problem), dtype)


def prepare(name: str, shape: Shape, dtype: torch.dtype, device: str) -> tuple[timing.Run, timing.Run]:
    """Set up a part's step, and the same for a small image; for :func:`timing.peak_extra_mib`."""
    tiny = shape._replace(images=1, height=shape.kernel_size, width=shape.kernel_size)
    run, warm_up = (parts(s, dtype, torch.device(device))[name].step() for s in (shape, tiny))
    return run, warm_up


def measure(shape: Shape, options: argparse.Namespace) -> list[records.Row]:
    """Check, then time the parts at one shape.

    Returns:
        A row for each; those that the operator has a part in have no times if it is wrong.
    """
    dtype, device = options.dtype, options.device
    verdict_of_layer = check(shape.to_check(device), dtype, device)
    found = parts(shape, dtype, device)
    status = {name: verdict_of_layer if name in (LAYER, "operator") else "ok" for name in found}
    right = {name: part.runs() for name, part in found.items() if status[name] == "ok"}
    runs = {kind: {name: kinds[kind] for name, kinds in right.items()} for kind in KINDS}
    times = timing.time_kinds(runs, options.rounds, device)
    rows = {}
    for name in found:
        row = {**records.setting(options), "shape": str(shape), "part": name, "status": status[name]}
        row |= times.get(name, {})
        if options.memory and row["status"] == "ok":
            row["step_mib"] = timing.peak_extra_mib(prepare, (name, shape, dtype, device.type), device)
        rows[name] = row
    for row in rows.values():
        for kind in KINDS:
            row[f"conv2d_{kind}"] = records.ratio(row, rows["conv2d"], f"{kind}_ms")
            if row["part"] != "conv2d":
                row[f"share_{kind}"] = records.ratio(row, rows[LAYER], f"{kind}_ms")
    return list(rows.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.parser("speed.layer", __doc__)
    parser.add_argument("--shapes", nargs="+", type=Shape.parse, help="NxCxHxWxl; default: those of the operator")
    options = records.parse(parser, arguments)
    rows: list[records.Row] = []
    with timing.equal_terms():
        for shape in options.shapes or map(Shape.parse, DEFAULT_SHAPES[options.device.type]):
            measured = measure(shape, options)
            print(records.table(measured, _HEADINGS, digits=3), end="\n\n", flush=True)
            rows += measured
            if options.csv is not None:
                records.write(options.csv, rows)


if __name__ == "__main__":
    main()
