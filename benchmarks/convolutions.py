"""Trains a small Ad-ResNet with each convolution at about the same number of parameters, and compares test errors.

``python -m benchmarks.convolutions --csv benchmarks/results/convolutions.csv``

The first two stages stay as they are; the width of the last two is chosen for each convolution so that the whole
network has as many parameters as with ACDA, or as near as it gets. Recipes are alike, those of the YAML files.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import acda
from acda.models import AdResNet
from benchmarks import records
from benchmarks.compare import run

CONFIGS = {"textures": ("configs/textures/ad_resnet.yaml", 4), "digits": ("configs/digits/ad_resnet.yaml", 10)}
METRIC = "test/top1_error"
NETWORK = "--model.init_args.network.init_args"
WIDTHS = range(2, 97)  # of the third stage; the fourth has twice as much
ACDA_WIDTH = 16


class Convolution(NamedTuple):
    """A convolution, by its class in ``acda`` or PyTorch, and arguments of its own."""

    path: str
    arguments: dict[str, Any]

    @property
    def conv(self) -> Callable[..., nn.Module]:
        """The factory that a network takes."""
        name = self.path.rpartition(".")[2]
        return partial(getattr(acda if self.path.startswith("acda.") else nn, name), **self.arguments)


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


def parameters(convolution: Convolution, width: int, num_classes: int) -> int:
    """Parameters of the network whose third stage has this width."""
    widths = (8, 16, width, 2 * width)
    with torch.device("meta"):
        network = AdResNet(
            num_classes,
            1,
            convolution.conv,
            plain_depths=(1, 1),
            dynamic_depths=(1, 1),
            widths=widths,
            small_images=True,
        )
    return sum(parameter.numel() for parameter in network.parameters())


def matched_width(convolution: Convolution, num_classes: int) -> int:
    """The width by which the network has most nearly as many parameters as with ACDA."""
    aim = parameters(CONVOLUTIONS["ACDA"], ACDA_WIDTH, num_classes)
    return min(WIDTHS, key=lambda width: abs(parameters(convolution, width, num_classes) - aim))


def train(data: str, name: str, seed: int, width: int, folder: Path, arguments: Sequence[str]) -> records.Row:
    """Train and test once.

    Args:
        data: Key of ``CONFIGS``.
        name: Key of ``CONVOLUTIONS``.
        seed: For ``seed_everything``.
        width: Of the third stage.
        folder: Where the run goes.
        arguments: Further arguments of the command line.

    Returns:
        A row with the test error.
    """
    config, num_classes = CONFIGS[data]
    convolution = CONVOLUTIONS[name]
    chosen = [f"{NETWORK}.conv={convolution.path}", f"{NETWORK}.widths=[8,16,{width},{2 * width}]"]
    chosen += [f"{NETWORK}.conv.{key}={value}" for key, value in convolution.arguments.items()]
    if name == "dynamic convolution":
        chosen.append("--trainer.callbacks+=AnnealTemperature")
    metrics, seconds = run(config, seed, folder / f"{data}_{name}_{seed}".replace(" ", "_"), [*chosen, *arguments])
    return {
        "data": data,
        "convolution": name,
        "width": width,
        "parameters": parameters(convolution, width, num_classes),
        "seed": seed,
        METRIC: float(metrics[METRIC]),
        "fit_seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=tuple(CONFIGS), default=tuple(CONFIGS), help="default: all")
    parser.add_argument("--only", nargs="+", choices=tuple(CONVOLUTIONS), default=tuple(CONVOLUTIONS))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to SEEDS − 1 (default 3)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default 1)")
    parser.add_argument("--csv", type=Path, help="also write a row for each run here")
    options, further = parser.parse_known_args(arguments)
    rows: list[records.Row] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        waiting = []
        for data in options.data:
            widths = {name: matched_width(CONVOLUTIONS[name], CONFIGS[data][1]) for name in options.only}
            for seed in range(options.seeds):
                for name in options.only:
                    waiting.append(pool.submit(train, data, name, seed, widths[name], Path(folder), further))
        for future in waiting:
            rows.append(future.result())
            print(*rows[-1].values(), flush=True)
            if options.csv is not None:
                records.write(options.csv, rows)
    print()
    for data in options.data:
        for name in options.only:
            errors = [float(r[METRIC] or 0) for r in rows if (r["data"], r["convolution"]) == (data, name)]
            deviation = statistics.stdev(errors) if len(errors) > 1 else float("nan")
            count = next(r["parameters"] for r in rows if (r["data"], r["convolution"]) == (data, name))
            print(f"{data}  {name}: {statistics.mean(errors):.2f} ± {deviation:.2f} %, {count:,} parameters")


if __name__ == "__main__":
    main()
