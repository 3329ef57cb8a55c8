"""Images that occur more than once, told by their pixels."""

from typing import NamedTuple

from datamodules.survey.reading import Reading


class Place(NamedTuple):
    """Where an image was seen.

    Attributes:
        split: In which split.
        name: Under which name.
    """

    split: str
    name: str


class Duplicates:
    """Compares images with all that came before.

    Attributes:
        between: Messages of images that occur in two splits.
        within: How many images of a split occur before in the same split, by the split.
        shared: How many files validation and test both take.
    """

    def __init__(self) -> None:
        self.between: list[str] = []
        self.within: dict[str, int] = {}
        self.shared = 0
        self._seen: dict[bytes, Place] = {}

    def add(self, split: str, reading: Reading) -> None:
        """Compare the images of a sample with those before, and keep them for those after."""
        for name, digest in zip(reading.names, reading.digests, strict=False):
            before = self._seen.setdefault(digest, Place(split, name))
            if before == (split, name):
                continue
            if before.split == split:
                self.within[split] = self.within.get(split, 0) + 1
            elif before.name != name:
                self.between.append(f"'{before.name}' ({before.split}) and '{name}' ({split}) have the same pixels")
            elif before.split == "train":
                self.between.append(f"'{name}' is in {before.split} and in {split}")
            else:
                self.shared += 1
