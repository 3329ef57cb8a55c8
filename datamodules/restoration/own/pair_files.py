"""Pairs of images in two folders, as they lie on a user's disk."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from datamodules.errors import PAIRS, DataError, abbreviate, noted, remark
from datamodules.files.channels import SUFFIXES
from datamodules.files.listing import list_images
from datamodules.restoration.image_pairs import ImagePair, check_pair
from datamodules.restoration.own.names import find_scenes, name_files

Unpaired = Literal["error", "skip"]
"""What is done with images that have no partner."""

_log = logging.getLogger(__name__)


class Side(NamedTuple):
    """One of the two folders.

    Attributes:
        argument: Name of the argument that names it.
        folder: The folder.
        pattern_argument: Name of the argument that holds the pattern.
        pattern: How its images are named.
    """

    argument: str
    folder: str
    pattern_argument: str
    pattern: str

    @property
    def root(self) -> Path:
        """Its path."""
        return Path(self.folder).expanduser()


def list_pairs(degraded: Side, clean: Side, scale: int, scene: str | None, unpaired: Unpaired) -> list[ImagePair]:
    """Find pairs and check that they fit together; how many there are is logged.

    Args:
        degraded: The degraded images.
        clean: The clean images.
        scale: How many times smaller the degraded images are.
        scene: Pattern of the names, with ``{scene}``; None: each pair is a scene of its own.
        unpaired: Whether images without partner are refused, or left out, of which is warned.

    Returns:
        The pairs by name; ids are paths of the degraded images.

    Raises:
        DataError: If a folder is missing or empty, both are one, images lack their partner, names do not fit, or two
            images do not fit together.
    """
    files = _list_both(degraded, clean)
    single = [
        f"{side.argument}: {file}"
        for side, own, others in ((degraded, *files), (clean, *files[::-1]))
        for name, file in own.items()
        if name not in others
    ]
    names = [name for name in files[0] if name in files[1]]
    place = f"{degraded.argument}='{degraded.folder}', {clean.argument}='{clean.folder}'"
    if single and (unpaired == "error" or not names):
        raise DataError(
            f"{len(single)} images lack their partner ({place}): {abbreviate(single)}. Add them, see to "
            f"{degraded.pattern_argument} and {clean.pattern_argument}, or leave them out: "
            "--data.init_args.unpaired=skip."
        )
    if single:
        remark(f"{place}: {len(single)} images without partner: {abbreviate(single)}")
        _log.warning("%s: %d images without partner are left out: %s", place, len(single), abbreviate(single))
    _log.info("%s: %d pairs", place, len(names))
    scenes = find_scenes(names, scene)
    pairs = []
    for name, its_scene in zip(names, scenes, strict=True):
        one, other = files[0][name], files[1][name]
        with noted(PAIRS):
            pairs.append(_make_pair(one, degraded.root / one, clean.root / other, its_scene, scale))
    return pairs


def _list_both(degraded: Side, clean: Side) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """List files of both sides by the name of the pair."""
    listed = {side: list_images(side.folder, side.argument, SUFFIXES) for side in (degraded, clean)}
    if degraded.root.resolve() == clean.root.resolve():
        if degraded.pattern == clean.pattern:
            raise DataError(
                f"{degraded.argument} and {clean.argument} must be two folders, or {degraded.pattern_argument} and "
                f"{clean.pattern_argument} two patterns, got '{degraded.folder}' and '{degraded.pattern}' for both"
            )
        # The longer pattern takes its images first: that without anything but the name fits all.
        special, general = sorted((degraded, clean), key=lambda side: -len(side.pattern))
        taken = set(name_files(listed[special], special.pattern, special.pattern_argument).values())
        listed[general] = [file for file in listed[general] if file not in taken]
    for outer, inner in ((degraded, clean), (clean, degraded)):
        root, within = outer.root.resolve(), inner.root.resolve()
        if root in within.parents:
            start = f"{within.relative_to(root).as_posix()}/"
            listed[outer] = [file for file in listed[outer] if not file.startswith(start)]
    named = {}
    for side, files in listed.items():
        named[side] = name_files(files, side.pattern, side.pattern_argument)
        others = sorted(set(files) - set(named[side].values()))
        if not named[side]:
            raise DataError(
                f"{side.argument}='{side.folder}' holds no image named {side.pattern_argument}='{side.pattern}', which "
                f"is without suffix, but {abbreviate(others) or 'none at all'}"
            )
        if others:
            _log.warning("%s='%s': images of other names are left out: %s", *side[:2], abbreviate(others))
            remark(f"{side.argument}='{side.folder}': {len(others)} images of other names: {abbreviate(others)}")
    return named[degraded], named[clean]


def _make_pair(name: str, degraded: Path, clean: Path, scene: str, scale: int) -> ImagePair:
    return ImagePair(name, scene, degraded, clean, *check_pair(degraded, clean, (scale,), "scale"))
