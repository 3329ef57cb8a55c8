"""All splits of a data module, read once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import DataLoader

from datamodules.errors import CLASSES, IMAGES, PAIRS, DataError, Findings
from datamodules.files.progress import show_progress
from datamodules.samples import SampleSet
from datamodules.survey.duplicates import Duplicates
from datamodules.survey.reading import Reading, Readings
from datamodules.survey.sheet import Cell, draw_sheet
from datamodules.survey.totals import Totals, format_table
from datamodules.types import Pixels
from datamodules.workers import leave_signals_to_the_main_process

SPLITS = ("train", "val", "test")
SHOWN = {"train": 12, "val": 6, "test": 6}
"""Samples of each split that are drawn."""
MOST_LINES = 20
"""Faults of a kind that are listed."""
_WORST = 3  # samples that are drawn for the positions that were moved in them


class Survey(NamedTuple):
    """What was found.

    Attributes:
        lines: A table, what was left out, and all faults, for the user.
        num_faults: How many faults there are.
        picture: Contact sheet, RGB, uint8 ``[H, W, 3]``.
    """

    lines: list[str]
    num_faults: int
    picture: Pixels


def take_survey(
    stored_samples: Callable[[str], SampleSet[Any]], class_names: Sequence[str], num_workers: int, found: Findings
) -> Survey:
    """Read all samples that are stored, once.

    Args:
        stored_samples: Gives those of a split, see :meth:`~datamodules.base.ImageDataModule.stored_samples`.
        class_names: By class index; empty where there are none, or they are not known.
        num_workers: Processes that read.
        found: What is collected meanwhile; is added to.

    Returns:
        What was found.

    Raises:
        DataError: If samples of a split cannot be made, and nothing that was noted before explains it.
    """
    samples = {split: made for split in SPLITS if (made := _make(split, stored_samples, found)) is not None}
    same = _are_same(samples)
    totals: dict[str, Totals] = {}
    duplicates = Duplicates()
    groups: list[tuple[str, list[Cell]]] = []
    for split, of_split in samples.items():
        if split == "val" and same:
            continue
        totals[split] = Totals()
        cells: list[Cell] = []
        for reading in _read_all(of_split, split, num_workers):
            totals[split].add(reading)
            duplicates.add(split, reading)
            _note_faults(reading, found)
            if reading.thumbnail is not None:
                cells.append(Cell(_write_titles(reading, class_names), reading.thumbnail.picture))
        heading = "val and test" if split == "test" and same else split
        groups.append((f"{heading}: {len(cells)} of {len(of_split):,}", cells))
    for text in duplicates.between:
        found.note("duplicates", text)
    if "train" in totals:
        _note_classes(totals["train"], class_names, found)
    rows = {split: totals["test" if split == "val" and same else split].row(len(class_names)) for split in samples}
    lines = [
        *format_table(rows),
        *_describe_channels(samples, totals),
        *_describe_samples(samples, duplicates, same),
        *list_findings(found),
    ]
    return Survey(lines, sum(map(len, found.faults.values())), draw_sheet(groups))


def list_findings(found: Findings) -> list[str]:
    """List what was left out or changed, and what is wrong, by kind, at most ``MOST_LINES`` of each.

    Args:
        found: What was found.

    Returns:
        Lines for the user.
    """
    lines = []
    faults = {f"Wrong with {kind}": texts for kind, texts in found.faults.items()}
    for heading, texts in (found.remarks | faults).items():
        lines += [f"{heading} ({len(texts):,}):", *(f"  {text}" for text in list(texts)[:MOST_LINES])]
        if len(texts) > MOST_LINES:
            lines.append(f"  and {len(texts) - MOST_LINES:,} more")
    return lines


def _make(split: str, stored_samples: Callable[[str], SampleSet[Any]], found: Findings) -> SampleSet[Any] | None:
    """Make the samples of a split; None if what was noted before leaves none."""
    try:
        return stored_samples(split)
    except DataError as error:
        if not found.faults:
            raise
        found.note("splits", str(error))
        return None


def _read_all(samples: SampleSet[Any], split: str, num_workers: int) -> Iterator[Reading]:
    """Read all samples of a split, in their order; shows progress."""
    readings = Readings(samples, _choose(samples, SHOWN[split]), moments=split == "train")
    loader: DataLoader[Reading] = DataLoader(
        readings,
        batch_size=None,
        num_workers=num_workers,
        collate_fn=_keep,
        worker_init_fn=leave_signals_to_the_main_process,
    )
    yield from show_progress(loader, f"Checking {split}", "samples")


def _keep(reading: Any) -> Any:
    return reading


def _knows_stored(samples: Any) -> bool:
    """Tell whether samples say what is stored, without handing it out."""
    return isinstance(samples, SampleSet) and type(samples).stored is not SampleSet.stored


def _choose(samples: SampleSet[Any], count: int) -> set[int]:
    """Choose samples to draw: spread evenly, and those in which most positions were moved."""
    total = len(samples)
    chosen = {int(index) for index in np.linspace(0, total - 1, min(count, total)).round()}
    if total and _knows_stored(samples) and samples.stored(0).points is not None:
        moved = np.array([samples.stored(index).moved for index in range(total)])
        chosen |= {int(index) for index in np.argsort(-moved, kind="stable")[:_WORST] if moved[index]}
    return chosen


def _are_same(samples: Mapping[str, SampleSet[Any]]) -> bool:
    """Tell whether validation takes what test takes."""
    val, test = samples.get("val"), samples.get("test")
    if val is None or test is None or len(val) != len(test) or not (_knows_stored(val) and _knows_stored(test)):
        return False
    return val is test or all(val.stored(i).names == test.stored(i).names for i in range(len(val)))


def _note_faults(reading: Reading, found: Findings) -> None:
    if reading.fault:
        found.note(IMAGES, reading.fault)
    if reading.psnr == float("inf"):
        found.note(PAIRS, f"{' and '.join(map(repr, reading.names))} have the same pixels: there is nothing to restore")


def _note_classes(train: Totals, class_names: Sequence[str], found: Findings) -> None:
    if CLASSES in found.faults or not train.labels:  # listing folders has told
        return
    for label, name in enumerate(class_names):
        if not train.labels[label]:
            found.note(CLASSES, f"'{name}' has no images to train on")


def _write_titles(reading: Reading, class_names: Sequence[str]) -> list[str]:
    """Write what stands above a thumbnail: what it is, and its name."""
    title = f"{reading.size[1]} × {reading.size[0]}"
    if reading.objects is not None:
        title = f"{reading.objects:,} objects" + (f", {reading.moved} moved" if reading.moved else "")
    elif reading.psnr is not None:
        title = f"{reading.psnr:.2f} dB"
    elif reading.label is not None:
        title = class_names[reading.label] if reading.label < len(class_names) else f"class {reading.label}"
    return [title, reading.names[0]]


def _describe_channels(samples: Mapping[str, SampleSet[Any]], totals: Mapping[str, Totals]) -> list[str]:
    found = totals["train"].describe_channels() if "train" in totals else None
    if found is None:
        return []
    unit = "values in [0, 1]" if _knows_stored(samples["train"]) else "values as they are handed out"
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in found)
    return [f"Channels of train ({unit}): mean [{mean}], std [{std}]"]


def _describe_samples(samples: Mapping[str, SampleSet[Any]], duplicates: Duplicates, same: bool) -> list[str]:
    """Say what else there is to know of the samples."""
    lines = []
    handed_out = [split for split, of_split in samples.items() if not _knows_stored(of_split)]
    if handed_out:
        lines.append(
            f"As handed out, and not compared with others: {', '.join(handed_out)}. If that is not as stored, give the "
            "samples a method stored(index): docs/extending.md"
        )
    if same or duplicates.shared:
        count = len(samples["test"]) if same else duplicates.shared
        lines.append(f"Validation and test take the same images ({count:,})")
    lines += [f"Repeated within {split}: {count:,} images" for split, count in duplicates.within.items()]
    return lines
