"""Images on disk and what annotation files call them."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from datamodules.annotations.structure import Annotations, ImageAnnotation, annotated_twice
from datamodules.errors import DataError, abbreviate, check_one_of

Unlisted = Literal["error", "empty"]
"""What an image is that no annotation names."""


def match_images(
    annotations: Annotations, images_dir: Path, image_names: Sequence[str], unlisted: Unlisted = "error"
) -> dict[str, ImageAnnotation]:
    """Find the image that each annotation belongs to.

    An annotation's name is the path of an image relative to ``images_dir``; or the end of one image's path alone; or
    ends in one image's path alone. It may lack the suffix, have backslashes between folders, and write letters with
    accents as one sign or as two. Last, it may be an image's name as web servers change it when it is uploaded.

    Args:
        annotations: All annotations of a source.
        images_dir: Folder of the images, for messages.
        image_names: The images' paths relative to it, with ``/`` between parts.
        unlisted: ``error``; or ``empty``, to take an image that no annotation names for one without objects. Default:
            ``error``.

    Returns:
        The annotation of each image, in the order of ``image_names``.

    Raises:
        ValueError: If ``unlisted`` is another word.
        DataError: If an annotation names an image that is not there, or may mean several, or two mean the same, or an
            image is not named.
    """
    check_one_of(get_args(Unlisted), unlisted=unlisted)
    names = _Names(image_names)
    found: dict[str, ImageAnnotation] = {}
    absent = []
    for annotation in annotations.images:
        image = names.find(annotation)
        if image is None:
            absent.append(f"'{annotation.name}' ({annotation.place})")
        elif image in found:
            raise annotated_twice(image, found[image].place, annotation.place)
        else:
            found[image] = annotation
    if absent:
        raise DataError(
            f"'{images_dir}' lacks {len(absent)} images that are annotated: {abbreviate(absent)}. Add them, or correct "
            "or remove their annotations."
        )
    others = [name for name in image_names if name not in found]
    if others and unlisted == "error":
        raise DataError(
            f"'{annotations.source}' does not name {len(others)} images of '{images_dir}': {abbreviate(others)}. "
            "Annotate or remove them, or take them for images without objects: unlisted=empty."
        )
    unit = annotations.images[0].unit
    place = f"'{annotations.source}', which does not name it"
    for name in others:
        found[name] = ImageAnnotation(name, np.empty((0, 2)), unit, None, None, place)
    return {name: found[name] for name in image_names}


class _Names:
    """Names of images, to be looked up in several ways."""

    def __init__(self, image_names: Sequence[str]) -> None:
        self._exact = set(image_names)
        self._whole: dict[str, list[str]] = defaultdict(list)
        self._ends: dict[str, list[str]] = defaultdict(list)
        self._uploaded: dict[str, list[str]] = defaultdict(list)
        for name in image_names:
            plain = unicodedata.normalize("NFC", name)
            for path in {plain, _strip_suffix(plain)}:
                first, *ends = _ends(path)
                self._whole[first].append(name)
                for end in ends:
                    self._ends[end].append(name)
            self._uploaded[_change_as_uploaded(plain)].append(name)

    def find(self, annotation: ImageAnnotation) -> str | None:
        """Find an annotation's image.

        Raises:
            DataError: If it may be one of several.
        """
        for name in (annotation.name, *annotation.aliases):
            for images in self._candidates(name):
                if len(images) > 1:
                    raise DataError(
                        f"{annotation.place}: '{name}' must be the name of one image, got one of {abbreviate(images)}. "
                        "Write its folders and suffix."
                    )
                if images:
                    return images[0]
        return None

    def _candidates(self, name: str) -> Iterator[list[str]]:
        if name in self._exact:
            yield [name]
        parts = unicodedata.normalize("NFC", name).replace("\\", "/").split("/")
        path, *ends = _ends("/".join(part for part in parts if part not in ("", ".", "..")))
        yield self._whole.get(path, [])
        yield self._ends.get(path, [])
        yield [image for end in ends for image in self._whole.get(end, [])]
        yield self._uploaded.get(path, [])


def _ends(path: str) -> list[str]:
    """List a path, and it without its first folder, without its first two, and so on."""
    parts = path.split("/")
    return ["/".join(parts[position:]) for position in range(len(parts))]


def _strip_suffix(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.rpartition(".")[0] or name)


def _change_as_uploaded(path: str) -> str:
    """Change a file's name as Label Studio does, by Django: only letters, digits, -, _, ."""
    return re.sub(r"[^-\w.]", "", path.rpartition("/")[2].strip().replace(" ", "_"))
