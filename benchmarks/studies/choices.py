"""Measures what the layer's choices are worth: networks with ACDA of which one choice is another.

``python -m benchmarks.studies.choices --csv benchmarks/results/choices.csv``

LeNet + ACDA on CIFAR-10, the small counter on ShanghaiTech A, the small restorer on PolyU. Recipes are those of the
YAML files; parameters differ with the choice, and are told.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks import records
from benchmarks.studies import restoration, study
from benchmarks.studies.matching import network_in, parameters


class Tried(NamedTuple):
    """A network whose layers are changed.

    Attributes:
        config: The experiment's YAML file.
        owner: Names of arguments that lead from the network to what takes the convolution.
        metrics: Names of test metrics.
        has: Keys of ``CHOICES`` that the configuration is by itself, and that need no training of their own.
        data: Arguments of the command line for other data than the configuration's.
    """

    config: str
    owner: Sequence[str]
    metrics: Sequence[str]
    has: Sequence[str]
    data: Sequence[str] = ()


NETWORKS = {
    "cifar10": Tried(
        "configs/cifar10/lenet_acda.yaml",
        (),
        ("test/top1_error",),
        ("generator (3, 1)", "batch norms", "adaptive from the start", "batch norms, adaptive from the start"),
    ),
    "shanghaitech_a": Tried(
        "configs/crowd/shanghaitech_a_small.yaml",
        ("backbone",),
        ("test/mae", "test/rmse"),
        ("generator (1, 3)", "group norms", "adaptive from the start"),
    ),
    "polyu": Tried(
        "configs/sample_photos/denoising_acda.yaml",
        (),
        ("test/psnr", "test/ssim"),
        ("generator (1, 3)", "no norms", "a quarter adaptive at first"),
        (*restoration.TASKS["polyu"].data, "--data.init_args.data_dir=data/polyu"),
    ),
}
CHOICES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "generator (1, 3)": {"generator_kernel_sizes": [1, 3]},
    "generator (3, 1)": {"generator_kernel_sizes": [3, 1]},
    "generator (3, 3)": {"generator_kernel_sizes": [3, 3]},
    "generator (1, 1)": {"generator_kernel_sizes": [1, 1]},
    "batch norms": {"norm": "torch.nn.BatchNorm2d"},
    "group norms": {"norm": "acda.GroupNorm"},
    "no norms": {"norm": None},
    "adaptive from the start": {"initial_adaptivity": 1},
    "static at first": {"initial_adaptivity": 1 / 16},
    "a quarter adaptive at first": {"initial_adaptivity": 1 / 4},
    "batch norms, adaptive from the start": {"norm": "torch.nn.BatchNorm2d", "initial_adaptivity": 1},
    "3 atoms": {"num_atoms": 3},
    "12 atoms": {"num_atoms": 12},
    "3 bases a scale": {"num_bases": 3},
    "smallest scale": {"scales": [3]},
    "direct atoms": {"bases": "acda.identity_bases"},
}


def changes(data: str, choice: str) -> dict[str, Any]:
    """Make the part of the network's configuration that a choice is.

    Args:
        data: Key of ``NETWORKS``.
        choice: Key of ``CHOICES``.
    """
    made: dict[str, Any] = {"conv": {"class_path": "acda.ACDAConv2d", "init_args": CHOICES[choice]}}
    for name in reversed(NETWORKS[data].owner):
        made = {name: {"init_args": made}}
    return {"init_args": made}


def candidate(data: str, choice: str, folder: Path) -> study.Candidate:
    """Describe an experiment with a choice, and write the YAML file that changes it.

    Args:
        data: Key of ``NETWORKS``.
        choice: Key of ``CHOICES``.
        folder: Where the file is written.
    """
    tried = NETWORKS[data]
    changed = changes(data, choice)
    facts: records.Row = {
        "data": data,
        "choice": choice,
        "parameters": parameters(lambda: network_in(tried.config, changed)),
    }
    file = folder / f"{data}_{list(CHOICES).index(choice)}.yaml"
    file.write_text(yaml.safe_dump({"model": {"init_args": {"network": changed}}}))
    return study.Candidate(tried.config, facts, tried.metrics, [*tried.data, f"--config={file}"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.

    Raises:
        SystemExit: If none of the choices changes one of the configurations.
    """
    parser = study.parser("studies.choices", __doc__)
    parser.add_argument("--data", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS), help="default: all")
    parser.add_argument("--only", nargs="+", choices=tuple(CHOICES), default=tuple(CHOICES), help="default: all")
    options, further = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        candidates = [
            candidate(data, choice, Path(scratch))
            for data in options.data
            for choice in options.only
            if choice not in NETWORKS[data].has
        ]
        if not candidates:
            sys.exit(f"--only must name a choice that changes something, got {options.only}: 'as it is' has them")
        study.run(candidates, options, further)


if __name__ == "__main__":
    main()
