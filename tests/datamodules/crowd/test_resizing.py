"""Sizes after resizing; that images and heads move alike is tested with the data set they are resized for."""

from typing import Any

import pytest

from datamodules.crowd.resizing import compute_resized_size


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("short_512_2048", (300, 400), (512, 683)),
        ("short_512_2048", (400, 300), (683, 512)),
        ("short_512_2048", (512, 9000), (512, 9000)),
        ("short_512_2048", (2048, 2048), (2048, 2048)),
        ("short_512_2048", (6666, 9999), (2048, 3072)),
        ("fit_1024", (1024, 1024), (1024, 1024)),
        ("fit_1024", (4096, 1000), (1024, 250)),
        ("fit_1024", (10, 2048), (5, 1024)),
        ("fit_1024", (1, 4096), (1, 1024)),
        ("long_1536", (1536, 200), (1536, 200)),
        ("long_1536", (2304, 3072), (1152, 1536)),
        ("none", (6666, 9999), (6666, 9999)),
    ],
)
def test_rules(rule: Any, before: tuple[int, int], after: tuple[int, int]) -> None:
    assert compute_resized_size(*before, rule) == after
