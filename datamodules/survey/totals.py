"""What the samples of a split are in numbers."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from datamodules.survey.reading import Moments, Reading


class Totals:
    """Numbers of a split, added up sample by sample.

    Attributes:
        images: Samples that could be read.
        labels: How many there are of each class.
    """

    def __init__(self) -> None:
        self.images = 0
        self.labels: Counter[int] = Counter()
        self._heights: list[int] = []
        self._widths: list[int] = []
        self._channels: Counter[int] = Counter()
        self._depths: Counter[str] = Counter()
        self._objects: list[int] = []
        self._moved = 0
        self._psnr: list[float] = []
        self._moments: Moments | None = None

    def add(self, reading: Reading) -> None:
        """Add a sample, if it could be read."""
        if reading.fault:
            return
        self.images += 1
        height, width = reading.size
        self._heights = [min([height, *self._heights]), max([height, *self._heights])]
        self._widths = [min([width, *self._widths]), max([width, *self._widths])]
        self._channels[reading.channels] += 1
        self._depths[reading.depth] += 1
        self._moved += reading.moved
        if reading.label is not None:
            self.labels[reading.label] += 1
        if reading.objects is not None:
            self._objects.append(reading.objects)
        if reading.psnr is not None:
            self._psnr.append(reading.psnr)
        if reading.moments is not None:
            self._add_moments(reading.moments)

    def row(self, num_classes: int = 0) -> dict[str, str]:
        """Give the row of a table, by the titles of its columns; without what does not occur.

        Args:
                   num_classes: Classes that there are, 0 if that is not known.
        there are, where that is known.
        """
        row = {"images": f"{self.images:,}"}
        if not self.images:
            return row
        row["width × height"] = f"{_span(self._widths)} × {_span(self._heights)}"
        row["channels"] = ", ".join(map(str, sorted(self._channels)))
        row["bits"] = ", ".join(sorted(self._depths))
        if self._objects:
            counts = min(self._objects), float(np.median(self._objects)), max(self._objects), sum(self._objects)
            row["objects (min, median, max, total)"] = (
                ", ".join(f"{count:,g}" for count in counts[:3]) + f", {counts[3]:,}"
            )
            row["moved to border"] = f"{self._moved:,}"
        if self.labels:
            classes = max(num_classes, max(self.labels) + 1)
            sizes = [self.labels[label] for label in range(classes)]
            row["classes (number, smallest, largest)"] = f"{classes:,}, {min(sizes):,}, {max(sizes):,}"
        finite = [psnr for psnr in self._psnr if np.isfinite(psnr)]
        if finite:
            row["PSNR of degraded (min, mean, max)"] = f"{min(finite):.2f}, {np.mean(finite):.2f}, {max(finite):.2f} dB"
        return row

    def describe_channels(self) -> tuple[list[float], list[float]] | None:
        """Give mean and standard deviation of each channel over all pixels; None where channels differ or none were."""
        if self._moments is None or len(self._channels) != 1:
            return None
        count, sums, squares = self._moments
        mean = sums / count
        return mean.tolist(), np.sqrt(np.maximum(squares / count - mean**2, 0)).tolist()

    def _add_moments(self, others: Moments) -> None:
        if self._moments is None:
            self._moments = others
        elif len(others.sums) == len(self._moments.sums):
            count, sums, squares = self._moments
            self._moments = Moments(count + others.pixels, sums + others.sums, squares + others.squares)


def format_table(rows: dict[str, dict[str, str]]) -> list[str]:
    """Write a table, columns aligned; those that no row has are left out.

    Args:
        rows: By the first cell, each by the titles of its columns.

    Returns:
        Its lines.
    """
    titles = list(dict.fromkeys(title for row in rows.values() for title in row))
    table = [["split", *titles]] + [[name, *(row.get(title, "") for title in titles)] for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]


def _span(values: Sequence[int]) -> str:
    return f"{values[0]}" if values[0] == values[-1] else f"{values[0]}–{values[-1]}"
