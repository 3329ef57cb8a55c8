"""What the packages import is what the requirements name, each with the reason for its bound."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN = ("acda", "benchmarks", "cli", "datamodules", "lit_modules")
LINE = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?(?P<bound>[<>=!~][^#]*)?\s*#(?P<reason>.+)")
DISTRIBUTIONS = packages_distributions()
BY_NAME = ("import_module", "import_package")  # functions that import what a text names


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(file: str) -> list[re.Match[str]]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    matches = [(line, LINE.fullmatch(line)) for line in lines if not line.startswith(("#", "-r "))]
    assert not [line for line, match in matches if match is None], "a line without a reason"
    return [match for _, match in matches if match is not None]


def named(file: str) -> set[str]:
    """Distributions in a file of requirements, with those that it says another brings along."""
    found = requirements(file)
    brought = [name for match in found for name in re.findall(r"brings (\w+)", match["reason"])]
    return {normal(name) for name in [*(match["name"] for match in found), *brought]}


def imports(source: str) -> Iterator[tuple[str, bool]]:
    """Packages that a file imports, and whether by a statement, without which it cannot be imported itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], True
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_NAME:
            texts = (argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant))
            yield from ((str(text).partition(".")[0], False) for text in texts)


def missing(source: str) -> set[str]:
    """Packages of others that a file imports and no requirement names."""
    needed = named("requirements.txt")
    known = {True: needed, False: needed | named("requirements-dev.txt")}
    return {
        package
        for package, by_statement in imports(source)
        if package not in (*OWN, *sys.stdlib_module_names)
        and not {normal(name) for name in DISTRIBUTIONS.get(package, [package])} & known[by_statement]
    }


@pytest.mark.parametrize("package", OWN)
def test_what_is_imported_is_required(package: str) -> None:
    files = [ROOT / f"{package}.py"] if package == "cli" else sorted((ROOT / package).rglob("*.py"))
    found = {str(path.relative_to(ROOT)): missing(path.read_text(encoding="utf-8")) for path in files}
    assert found
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import pytest", {"pytest"}),  # for developers only
        ("def late():\n    from pytest import fixture", {"pytest"}),
        ("import importlib\nimportlib.import_module('pytest')", set()),
        ("import_package('pluggy', 'Nothing')", {"pluggy"}),
        ("import not_there", {"not_there"}),
        ("import cv2, os, acda\nfrom yaml import safe_load\nfrom . import pytest", set()),
        ("from triton import jit", set()),
    ],
)
def test_the_check_sees_every_form_of_import(source: str, names: set[str]) -> None:
    assert missing(source) == names


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_has_a_reason_and_is_named_once(file: str) -> None:
    names = [normal(match["name"]) for match in requirements(file)]
    assert len(set(names)) == len(names) > 5
    if file == "requirements.txt":
        assert all(match["bound"].strip() for match in requirements(file))
