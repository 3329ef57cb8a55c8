"""Imports run one way: the method knows neither data nor training, data no method, the entry point is on top.

Within a package they run one way too, from folder to folder, and nowhere in a circle.
"""

import ast
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
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


TIERS: dict[str, list[tuple[str, ...]]] = {
    "acda": [("allocator", "bases", "ops"), ("layers",), ("inference", "models"), ("analysis",)],
    "datamodules": [
        ("batches", "errors", "types"),
        ("files",),
        ("annotations",),
        ("transforms",),
        ("prediction", "samples", "seeding", "splits", "workers"),
        ("survey",),
        ("base",),
        ("classification", "crowd", "patterns", "restoration"),
    ],
    "lit_modules": [
        ("errors", "lightning_private", "random_state", "schedules"),
        ("losses", "metrics"),
        ("output",),
        ("callbacks",),
        ("check", "export", "tasks"),
        ("runs",),
        ("cli",),
    ],
}
"""Folders and files directly in a package, the lowest first; a folder may import what is below it, and itself."""
FLAT = {"samples": ("prediction", "samples", "seeding", "splits", "workers"), "types": ("batches", "errors", "types")}
"""Files that lie side by side and may import each other."""


def modules(package: str) -> dict[str, Path]:
    """Files of a package by the names of their modules; ``__init__.py`` has the folder's."""
    paths = {path: path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / package).rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in paths.items()}


def edges(package: str) -> dict[str, set[str]]:
    """For each module of a package the modules of the same package that it imports."""
    files = modules(package)

    def module(name: str) -> str | None:
        return next((known for known in (name, name.rpartition(".")[0]) if known in files), None)

    found: dict[str, set[str]] = {}
    for name, path in files.items():
        folder = ".".join(path.relative_to(ROOT).parent.parts)
        names = {module(full) for full in imported(path.read_text(encoding="utf-8"), folder)}
        found[name] = {other for other in names if other is not None and other != name}
    return found


def tier(package: str, name: str) -> tuple[int, str]:
    """Number of the tier that a module stands in, and the folder or file directly in the package that it is part of."""
    room = name.removeprefix(f"{package}.").partition(".")[0]
    (number,) = (i for i, rooms in enumerate(TIERS[package]) if room in rooms)
    return number, room


@pytest.mark.parametrize("package", TIERS)
def test_no_folder_imports_one_above_or_beside_it(package: str) -> None:
    wrong = []
    for name, others in edges(package).items():
        if name == package:  # what it has for all to import
            continue
        own, room = tier(package, name)
        for other in others - {package}:
            number, theirs = tier(package, other)
            beside = any(room in group and theirs in group for group in FLAT.values())
            if number > own or (number == own and theirs != room and not beside):
                wrong.append(f"{name} imports {other}")
        if package in others:
            wrong.append(f"{name} imports {package}, which imports all there is")
    assert not wrong


@pytest.mark.parametrize("package", [*TIERS, "benchmarks"])
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    assert list(TopologicalSorter(edges(package)).static_order())


def test_drawing_knows_nothing_of_data_sets() -> None:
    found = {
        name: {other for other in others if not within(other, "datamodules.crowd.drawing", *LOWEST)}
        for name, others in edges("datamodules").items()
        if within(name, "datamodules.crowd.drawing")
    }
    assert len(found) > 1
    assert not {name: others for name, others in found.items() if others}


LOWEST = tuple(f"datamodules.{name}" for name in TIERS["datamodules"][0])


@pytest.mark.parametrize("package", ["datamodules", "lit_modules"])
def test_few_files_lie_directly_in_a_package(package: str) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= 12
