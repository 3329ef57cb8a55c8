"""The weights that come with the project."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from acda.models import pretrained
from acda.models.weight_files import SUFFIX, read_weight_file
from benchmarks.machine import ROOT
from benchmarks.studies.cards import make_cards
from benchmarks.studies.pretrain import LARGEST
from benchmarks.studies.recipes import RECIPES

FOLDER = ROOT / "weights"
NAMES = sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))
ALL_TOGETHER = 40_000_000  # bytes


def texts(value: Any) -> list[str]:
    """All texts within a configuration."""
    if isinstance(value, dict):
        return [text for part in value.values() for text in texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_small_has_a_recipe_and_names_no_folder_of_a_machine(name: str) -> None:
    path = FOLDER / f"{name}{SUFFIX}"
    file = read_weight_file(path)
    recipe = RECIPES[name]
    assert path.stat().st_size <= LARGEST
    assert set(file.facts["metrics"]) == set(recipe.tests)
    assert (file.facts["data"], file.facts["licence"]) == (recipe.data, recipe.licence)
    assert not [text for text in texts(json.loads(json.dumps(file.config))) if Path(text).is_absolute()]
    channels = file.network_config["init_args"].get("in_channels", 3)
    with torch.no_grad():
        output = pretrained(name)(torch.rand(1, channels, 32, 32))
    assert torch.isfinite(output).all()


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= ALL_TOGETHER


def test_the_cards_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACDA_WEIGHTS", raising=False)
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == make_cards()
