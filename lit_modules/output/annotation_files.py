"""Positions found in images, as annotation tools read them: one file of COCO, and one of LabelMe for each image."""

import json
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import normalize

from lightning.pytorch import Trainer

from lit_modules.output.output_folder import gather, output_folder
from lit_modules.output.result_files import ResultFiles, shorten
from lit_modules.output.whole_file import whole_file

_LABELME = "5.5.0"  # whose form of a file this is
_LABELLED = 2  # COCO's word for a keypoint that is seen


class FoundObjects(NamedTuple):
    """What was found in an image.

    Attributes:
        id: The image's path in its folder.
        height: Of the image as shown, in pixels.
        width: Its width.
        category: What the objects are.
        objects: x, y and score of each; positions in pixels of the image as shown, 0 at its upper left corner.
    """

    id: str
    height: int
    width: int
    category: str
    objects: Sequence[tuple[float, float, float]]


class AnnotationFiles:
    """Collects what a prediction finds, and writes it for annotation tools when it ends.

    - ``coco.json`` has all images; an object is a keypoint, and a box about it for tools that know boxes alone.
    - ``labelme/`` has a file for each image, in the same sub-folders, named as LabelMe looks for it: of ``a.jpg``
      ``a.json``. Images that differ in their suffix alone keep it: ``a.jpg.json``.

    Args:
        trainer: The running trainer; all processes make one together.
        side: Of the boxes, in pixels; narrower at an image's border, about the same centre.

    Attributes:
        coco: COCO's file.
        folder: Folder of LabelMe's.
    """

    def __init__(self, trainer: Trainer, side: float) -> None:
        self._trainer = trainer
        self._side = side
        self._found: dict[str, FoundObjects] = {}
        self._files = ResultFiles(trainer, "labelme", "renamed_labelme.csv")
        self.folder = self._files.folder
        self.coco = output_folder(trainer) / "coco.json"

    def add(self, found: FoundObjects) -> None:
        """Add what was found in an image, in this process."""
        self._found[found.id] = found

    def finish(self) -> None:
        """Write the files; all processes do so together."""
        by_id = {name: found for part in gather(self._trainer, self._found) for name, found in part.items()}
        images = [by_id[name] for name in sorted(by_id)]
        if self._trainer.is_global_zero:
            _write(self.coco, make_coco(images, self._side))
            bases = choose_bases(by_id)
            for found in images:
                (path,) = self._files.choose(found.id, ".json", base=bases[found.id])
                _write(path, make_labelme(found, path.parent.relative_to(self.folder).as_posix()))
        self._files.finish()


def choose_bases(names: Iterable[str]) -> dict[str, str]:
    """Choose names of files, without their ending, such that no two are the same, nor differ in capitals alone.

    Args:
        names: Ids of images.

    Returns:
        For each its id without suffix, or with it where others differ in it alone.
    """
    names = sorted(names)
    stems = {name: posixpath.splitext(name)[0] for name in names}
    count: dict[str, int] = {}
    for stem in stems.values():
        count[_fold(stem)] = count.get(_fold(stem), 0) + 1
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name, stem in stems.items():
        wanted = ([stem] if count[_fold(stem)] == 1 else []) + [name, shorten(name)]
        chosen[name] = next(base for base in wanted if _fold(base) not in taken)
        taken.add(_fold(chosen[name]))
    return chosen


def make_coco(images: Sequence[FoundObjects], side: float) -> dict[str, Any]:
    """Make what a COCO file of images holds.

    Args:
        images: What was found.
        side: Of the box about an object, in pixels.

    Returns:
        To be written as JSON.
    """
    categories = {name: number for number, name in enumerate(sorted({image.category for image in images}), 1)}
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for x, y, score in image.objects:
            half_width, half_height = (
                round(min(side / 2, place, length - place), 2)
                for place, length in ((x, image.width), (y, image.height))
            )
            width, height = round(2 * half_width, 2), round(2 * half_height, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[image.category],
                    "keypoints": [x, y, _LABELLED],
                    "num_keypoints": 1,
                    "bbox": [round(x - half_width, 2), round(y - half_height, 2), width, height],
                    "area": round(width * height, 4),
                    "segmentation": [],
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return {
        "info": {"description": "Positions predicted in the images as shown (EXIF)"},
        "licenses": [],
        "categories": [
            {"id": number, "name": name, "supercategory": "", "keypoints": ["position"], "skeleton": []}
            for name, number in categories.items()
        ],
        "images": [
            {"id": number, "file_name": image.id, "height": image.height, "width": image.width}
            for number, image in enumerate(images, 1)
        ],
        "annotations": annotations,
    }


def make_labelme(image: FoundObjects, folder: str) -> dict[str, Any]:
    """Make what LabelMe's file of an image holds, which lies beside the image.

    Args:
        image: What was found.
        folder: The file's folder, relative to that which ids are relative to.

    Returns:
        To be written as JSON.
    """
    return {
        "version": _LABELME,
        "flags": {},
        "shapes": [
            {
                "label": image.category,
                "points": [[x, y]],
                "group_id": None,
                "description": "",
                "shape_type": "point",
                "flags": {},
                "mask": None,
            }
            for x, y, _ in image.objects
        ],
        "imagePath": posixpath.relpath(image.id, folder),
        "imageData": None,
        "imageHeight": image.height,
        "imageWidth": image.width,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content), encoding="utf-8")


def _fold(name: str) -> str:
    """Write a name as the least particular file system does."""
    return normalize("NFC", name).casefold()
