"""Lightning's private names are used in one file, each use of which says where in Lightning to look."""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from lit_modules import lightning_private
from lit_modules.lightning_private import OpenCheckpoint, OpenTrainer, begin_next_epoch
from tests.lit_modules.lightning_private.conftest import relying_on

ROOT = Path(__file__).parents[3]
HERE = Path(lightning_private.__file__)
PRIVATE = re.compile("_[a-zA-Z]")


def test_a_failure_says_where_to_look() -> None:
    with pytest.raises(AssertionError, match="Look at: ``restarting``"), relying_on(begin_next_epoch):
        raise AttributeError("restarting")


def test_every_use_says_where_to_look() -> None:
    uses = [use for use in vars(lightning_private).values() if inspect.getmodule(use) is lightning_private]
    assert len(uses) == 13
    assert all("Look at:" in inspect.getsource(use) for use in uses)


def files(*parts: str) -> list[Path]:
    return [path for part in parts for path in sorted((ROOT / part).rglob("*.py")) if path != HERE]


def names_in(path: Path) -> set[str]:
    """Private names of functions, classes, methods and attributes that a file defines."""
    return set(re.findall(r"(?:\bself\.|\bdef |\bclass |^)(_[a-zA-Z]\w*)", path.read_text("utf-8"), re.MULTILINE))


@cache
def lightnings_names() -> set[str]:
    """Private names of Lightning: those that are used in the one file, and all that are none of ours too."""
    lightning = Path(import_module("lightning").__file__ or "").parent
    theirs = set[str]().union(
        *(names_in(path) for part in ("pytorch", "fabric") for path in (lightning / part).rglob("*.py"))
    )
    ours = set[str]().union(*map(names_in, files("acda", "datamodules", "lit_modules", "benchmarks")))
    used = set(re.findall(r"\b_[a-zA-Z]\w*", HERE.read_text("utf-8")))
    return (theirs - ours - {"_replace", "_fields", "_asdict", "_make"}) | used


def breaches(source: str) -> list[str]:
    """Private names of Lightning that a file imports, or asks an object for."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("lightning", "pytorch_lightning"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if any(PRIVATE.match(part) for part in name.split("."))]
        elif isinstance(node, ast.Attribute) and node.attr in lightnings_names():
            found.append(node.attr)
    return found


def test_no_other_file_uses_a_private_name_of_lightning() -> None:
    ours = [ROOT / "cli.py", *files("datamodules", "lit_modules", "benchmarks")]  # acda does not know Lightning
    found = {str(path.relative_to(ROOT)): breaches(path.read_text("utf-8")) for path in ours}
    assert len(found) > 100
    assert not {path: names for path, names in found.items() if names}, "take it from lit_modules/lightning_private.py"


@pytest.mark.parametrize(("source", "names"), [
    ("from lightning.pytorch.loops.loop import _Loop", ["lightning.pytorch.loops.loop._Loop"]),
    ("from pytorch_lightning import _logger", ["pytorch_lightning._logger"]),
    ("from lightning.pytorch import Trainer", []),
    ("from torch.utils._pytree import tree_leaves", []),
    ("trainer._accelerator_connector.cluster_environment", ["_accelerator_connector"]),
    ("class A:\n    def f(self):\n        return self._monitor_candidates(1)", ["_monitor_candidates"]),
    ("self._mine = self._mine + 1", []),
])  # fmt: skip
def test_the_check_sees_private_names(source: str, names: list[str]) -> None:
    assert breaches(source) == names


@cache
def private_names_of(cls: type) -> set[str]:
    """Private methods and attributes that a class defines."""
    return {name for name in vars(cls) if PRIVATE.match(name)} | set(
        re.findall(r"self\.(_[a-zA-Z]\w*)(?:: [^=]*)? = ", inspect.getsource(cls))
    )


def overridden(cls: type) -> set[str]:
    """Private names that a class and one of Lightning's among its bases both define."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("lightning.")]
    return private_names_of(cls) & set[str]().union(*map(private_names_of, bases)) - {"_abc_impl"}


def test_no_other_class_overrides_a_private_name_of_lightning() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files("datamodules", "lit_modules")]
    values = [value for name in names for value in vars(import_module(name)).values()]
    classes = {cls.__qualname__: cls for cls in values if inspect.isclass(cls) and cls.__module__ in names}
    assert {"RunTrainer", "CLI", "RunCheckpoint", "CountingTask", "DigitsDataModule"} < classes.keys()
    assert not {name: theirs for name, cls in classes.items() if (theirs := overridden(cls))}
    assert overridden(OpenTrainer) == {"_run_stage"}
    assert overridden(OpenCheckpoint) == {"_last_global_step_saved", "_save_last_checkpoint"}
