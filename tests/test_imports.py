"""Imports run one way: the method knows neither data nor training, data no method, the entry point is on top."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(source: str, package: str) -> Iterator[str]:
    """Full names of what a file of ``package`` imports, whether at its top, in a function or for types only."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def acda_may(name: str) -> bool:
    training = ("lightning", "pytorch_lightning", "torchmetrics", "jsonargparse")
    return not within(name, "lit_modules", "datamodules", "cli", "benchmarks", "tests", *training)


def datamodules_may(name: str) -> bool:
    return not within(name, "lit_modules", "acda", "cli", "benchmarks", "tests")


def lit_modules_may(name: str) -> bool:
    return within(name, "datamodules.batches") or not within(name, "datamodules", "cli", "benchmarks", "tests")


def benchmarks_may(name: str) -> bool:
    return not within(name, "cli", "tests")


RULES: dict[str, Callable[[str], bool]] = {
    "acda": acda_may,
    "datamodules": datamodules_may,
    "lit_modules": lit_modules_may,
    "benchmarks": benchmarks_may,
}


def breaches(path: Path, may: Callable[[str], bool]) -> list[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    return [name for name in imported(path.read_text(encoding="utf-8"), package) if not may(name)]


@pytest.mark.parametrize("package", RULES)
def test_imports_run_one_way(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): breaches(path, RULES[package]) for path in files}
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize(
    ("package", "source", "allowed"),
    [
        ("acda", "from torch import nn", True),
        ("acda", "import lightning.pytorch as pl", False),
        ("acda", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lightning import Trainer", False),
        ("acda", "def late():\n    import datamodules", False),
        ("acda.layers", "from ..bases import x", True),
        ("acda.layers", "from ...lit_modules import base", False),
        ("datamodules", "from lightning import LightningDataModule", True),
        ("datamodules", "from acda import ACDAConv2d", False),
        ("datamodules", "from lit_modules.metrics import psnr", False),
        ("lit_modules", "from acda import ACDAConv2d", True),
        ("lit_modules", "from datamodules.batches import LabelledImages", True),
        ("lit_modules", "from datamodules import batches", True),
        ("lit_modules", "from datamodules import Digits", False),
        ("lit_modules", "import datamodules", False),
        ("lit_modules", "import cli", False),
        ("lit_modules", "import click", True),
    ],
)
def test_the_check_sees_every_form_of_import(package: str, source: str, allowed: bool) -> None:
    rule = RULES[package.split(".")[0]]
    assert all(rule(name) for name in imported(source, package)) == allowed
