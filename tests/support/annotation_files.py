"""Writers of annotation files as the tools write them, and of the objects in them."""

import base64
import csv
import json
import math
import posixpath
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

from tests.support.crowd_files import write_image_info

Form = Literal["points", "boxes"]


class Sample(NamedTuple):
    """An image with objects.

    Attributes:
        name: Its path, with its suffix.
        height: Its height, a power of 2, so that fractions and percent of it are exact.
        width: Its width, another.
        boxes: The objects' corners x1, y1, x2, y2, multiples of 1/4 pixel, float64 ``[N, 4]``.
        labels: Their categories.
    """

    name: str
    height: int
    width: int
    boxes: npt.NDArray[np.float64]
    labels: list[str]

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """Centres of the boxes, multiples of 1/4 pixel, which CVAT's two decimals hold."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2


NAMES = "a.jpg", "empty.png", "plate 1/b c.jpg", "plate 1/ü.tif", "plate 2/Zelle-07.JPG"


def make_samples(seed: int = 0, names: Sequence[str] = NAMES) -> list[Sample]:
    """Draw objects of two categories in some images; those called empty have none."""
    random = np.random.RandomState(seed)
    samples = []
    for number, name in enumerate(names):
        height, width = (128, 256) if number % 2 else (512, 256)
        count = 0 if "empty" in name else random.randint(3, 9)
        corners = random.randint(0, (4 * width - 80, 4 * height - 80), (count, 2)) / 4
        sizes = random.randint(1, 20, (count, 2)) / 2
        labels = [str(label) for label in random.choice(["cell", "debris"], count)]
        samples.append(Sample(name, height, width, np.hstack([corners, corners + sizes]), labels))
    return samples


def write_images(folder: Path, samples: Sequence[Sample]) -> list[str]:
    """Write an image for each sample; returns their names."""
    for sample in samples:
        (folder / sample.name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (sample.width, sample.height)).save(folder / sample.name)
    return [sample.name for sample in samples]


def write_csv(
    path: Path,
    samples: Sequence[Sample],
    header: Sequence[str] = ("image", "x", "y", "label"),
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    factor: float = 0,
) -> None:
    """Write a table with a row for each object, in turn of the images as a careless script does.

    Args:
        path: The table.
        samples: The images.
        header: Names of the columns; how many of them have numbers is told by their number: two, or four for x, y, w, h
            or corners.
        delimiter: What is between the fields.
        encoding: Of the text.
        factor: What the width and height of an image are; 0 for pixels.
    """
    rows = []
    for sample in samples:
        if "w" in header or "width" in header:
            numbers = np.hstack([sample.boxes[:, :2], sample.boxes[:, 2:] - sample.boxes[:, :2]])
        else:
            numbers = sample.boxes if len(header) == 6 else sample.points
        scale = np.array([sample.width, sample.height] * (numbers.shape[1] // 2))
        numbers = numbers / scale * factor if factor else numbers
        rows += [(sample.name, *row.tolist(), label) for row, label in zip(numbers, sample.labels, strict=True)]
        rows += [] if len(numbers) else [(sample.name, *[""] * (len(header) - 1))]
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows[::2] + rows[1::2])


def coco(samples: Sequence[Sample], form: Form = "boxes") -> dict[str, Any]:
    """Make what a COCO file holds, with the fields that pycocotools, CVAT and Roboflow write."""
    names = ["background", "cell", "debris"]
    content: dict[str, Any] = {
        "info": {"description": "", "version": "1.0", "year": 2024, "date_created": "2024/01/01"},
        "licenses": [{"id": 1, "name": "Unknown", "url": ""}],
        "categories": [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(names)],
        "images": [],
        "annotations": [],
    }
    for number, sample in enumerate(samples):
        image = {"id": 100 + number, "license": 1, "file_name": sample.name, "height": sample.height}
        content["images"].append({**image, "width": sample.width, "date_captured": 0, "flickr_url": "", "coco_url": ""})
        for (x1, y1, x2, y2), (x, y), label in zip(sample.boxes, sample.points, sample.labels, strict=True):
            record = {
                "id": len(content["annotations"]) + 1,
                "image_id": 100 + number,
                "category_id": names.index(label),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                "iscrowd": 0,
            }
            if form == "points":
                record |= {"bbox": [0, 0, 1, 1], "keypoints": [x, y, 2, 0, 0, 0], "num_keypoints": 1}
            content["annotations"].append(record)
    return content


def write_json(path: Path, content: Any, indent: int | None = None) -> Path:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")
    return path


def labelme(sample: Sample, form: str = "point") -> dict[str, Any]:
    """Make what a file of LabelMe 5 holds for an image.

    Args:
        sample: The image.
        form: Type of the shapes: ``point``, ``rectangle`` (drawn from its lower left), ``polygon`` or
            ``circle``.
    """
    shapes = []
    for (x1, y1, x2, y2), (x, y), label in zip(sample.boxes, sample.points, sample.labels, strict=True):
        points = {
            "point": [[x, y]],
            "rectangle": [[x1, y2], [x2, y1]],
            "polygon": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]],
            "circle": [[x, y], [x2, y2]],
        }[form]
        shape = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": form}
        shapes.append({**shape, "flags": {}, "mask": None})
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": posixpath.basename(sample.name),
        "imageData": None,
        "imageHeight": sample.height,
        "imageWidth": sample.width,
    }


def write_labelme(folder: Path, samples: Sequence[Sample], form: str = "point") -> None:
    """Write a file of LabelMe 5 for each image."""
    for sample in samples:
        write_json((folder / sample.name).with_suffix(".json"), labelme(sample, form), indent=2)


def write_old_labelme(folder: Path, samples: Sequence[Sample]) -> None:
    """Write a file of LabelMe 2 for each image: polygons only, of no stated type, with the image, without its size."""
    for sample in samples:
        content = labelme(sample, "polygon")
        shapes = [{key: shape[key] for key in ("label", "points")} for shape in content["shapes"]]
        shapes = [{**shape, "line_color": None, "fill_color": None} for shape in shapes]
        old = {"shapes": shapes, "lineColor": [0, 255, 0, 128], "fillColor": [255, 0, 0, 128]}
        old |= {"imagePath": content["imagePath"], "imageData": base64.b64encode(b"an image").decode()}
        write_json((folder / sample.name).with_suffix(".json"), old, indent=2)


def write_anylabeling(folder: Path, samples: Sequence[Sample], form: str = "rectangle") -> None:
    """Write a file of X-AnyLabeling for each image: rectangles with four corners, or turned ones (``rotation``)."""
    for sample in samples:
        content = labelme(sample, "polygon")
        for shape in content["shapes"]:
            del shape["mask"]
            shape |= {"score": None, "difficult": False, "attributes": {}, "kie_linking": [], "shape_type": form}
            if form == "rotation":
                (x1, y1), _, (x2, y2), _ = shape["points"]
                shape["points"] = [[(x1 + x2) / 2, y1], [x2, (y1 + y2) / 2], [(x1 + x2) / 2, y2], [x1, (y1 + y2) / 2]]
                shape["direction"] = 0.78
        write_json((folder / sample.name).with_suffix(".json"), content | {"version": "2.4.4"}, indent=2)


def png_text(mask: npt.NDArray[np.bool_]) -> str:
    """Write a mask as LabelMe keeps it in a file."""
    file = BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def label_studio_regions(sample: Sample, form: str = "keypoint", angle: float = 0) -> list[dict[str, Any]]:
    """Make the regions of an image in the long form of Label Studio; turned ones are turned about their centre."""
    regions = []
    for number, (box, (x, y), label) in enumerate(zip(sample.boxes, sample.points, sample.labels, strict=True)):
        width, height = box[2] - box[0], box[3] - box[1]
        sin, cos = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        left, top = x - width / 2 * cos + height / 2 * sin, y - width / 2 * sin - height / 2 * cos
        percent_x, percent_y = 100 / sample.width, 100 / sample.height
        at = {"x": x * percent_x, "y": y * percent_y}
        sides = {"width": width * percent_x, "height": height * percent_y, "rotation": angle}
        corners = [[box[i] * percent_x, box[j] * percent_y] for i, j in ((0, 1), (2, 1), (2, 3), (0, 3))]
        value: dict[str, Any] = {
            "keypoint": {**at, "width": 0.25},
            "rectangle": {"x": left * percent_x, "y": top * percent_y, **sides},
            "ellipse": {**at, "radiusX": 1.5, "radiusY": 2.5, "rotation": angle},
            "polygon": {"points": corners, "closed": True},
        }[form]
        regions.append(
            {
                "original_width": sample.width,
                "original_height": sample.height,
                "image_rotation": 0,
                "value": {**value, f"{form}labels": [label]},
                "id": f"r{number}",
                "from_name": "label",
                "to_name": "image",
                "type": f"{form}labels",
                "origin": "manual",
            }
        )
    return regions


def label_studio(samples: Sequence[Sample], form: str = "keypoint", reference: str = "/data/upload/3/{}") -> list[Any]:
    """Make what Label Studio exports as JSON.

    Args:
        samples: The images.
        form: Of the regions: ``keypoint``, ``rectangle``, ``ellipse`` or ``polygon``.
        reference: What refers to an image, with ``{}`` for its name.
    """
    tasks = []
    for number, sample in enumerate(samples, 1):
        result = label_studio_regions(sample, form)
        annotation = {"id": number, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False}
        task = {"id": 40 + number, "annotations": [annotation], "drafts": [], "predictions": [{"result": result}]}
        tasks.append({**task, "data": {"image": reference.format(sample.name)}, "meta": {}, "project": 3})
    return tasks


def label_studio_min(samples: Sequence[Sample], form: str = "keypoint", reference: str = "/data/upload/3/{}") -> Any:
    """Make what Label Studio exports as JSON-MIN; an image without regions has no field of them."""
    tasks = []
    for number, sample in enumerate(samples, 1):
        task = {"image": reference.format(sample.name), "id": 40 + number, "annotator": 1, "annotation_id": number}
        regions = [
            {**region["value"], **{key: region[key] for key in ("original_width", "original_height")}}
            for region in label_studio_regions(sample, form)
        ]
        times = {"created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z", "lead_time": 1.5}
        tasks.append({**task, **({"label": regions} if regions else {}), **times})
    return tasks


def cvat(samples: Sequence[Sample], form: str = "points") -> ElementTree.Element:
    """Make what CVAT exports for images; ``points`` in one element for each label, as one drag of its tool makes."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    meta = ElementTree.SubElement(root, "meta")
    ElementTree.SubElement(ElementTree.SubElement(meta, "task"), "name").text = "cells"
    for number, sample in enumerate(samples):
        size = {"width": str(sample.width), "height": str(sample.height)}
        image = ElementTree.SubElement(root, "image", {"id": str(number), "name": sample.name, **size})
        groups: dict[str, list[str]] = {}
        for (x1, y1, x2, y2), (x, y), label in zip(sample.boxes, sample.points, sample.labels, strict=True):
            common = {"label": label, "source": "manual", "occluded": "0"}
            corners = {"xtl": f"{x1:.2f}", "ytl": f"{y1:.2f}", "xbr": f"{x2:.2f}", "ybr": f"{y2:.2f}"}
            outline = ";".join(f"{a:.2f},{b:.2f}" for a, b in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))
            ellipse = {"cx": f"{x:.2f}", "cy": f"{y:.2f}", "rx": f"{x2 - x:.2f}", "ry": f"{y2 - y:.2f}"}
            if form == "points":
                groups.setdefault(label, []).append(f"{x:.2f},{y:.2f}")
                continue
            values = {"box": corners, "polygon": {"points": outline}, "ellipse": ellipse}[form]
            element = ElementTree.SubElement(image, form, {**common, **values, "z_order": "0"})
            ElementTree.SubElement(element, "attribute", {"name": "seen"}).text = "true"
        for label, points in groups.items():
            common = {"label": label, "source": "manual", "occluded": "0"}
            ElementTree.SubElement(image, "points", {**common, "points": ";".join(points), "z_order": "0"})
    return root


def write_cvat(path: Path, root: ElementTree.Element) -> Path:
    """Write CVAT's XML."""
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def write_arrays(folder: Path, samples: Sequence[Sample], form: str) -> None:
    """Write an array for each image: ``npy``, ``txt``, ``image_info`` (ShanghaiTech) or ``annPoints`` (UCF-QNRF)."""
    for sample in samples:
        path = folder / sample.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "npy":
            np.save(path.with_suffix(".npy"), sample.points)
        elif form == "txt":
            np.savetxt(path.with_suffix(".txt"), sample.points)
        elif form == "image_info":
            write_image_info(path.with_name(f"GT_{path.stem}.mat"), sample.points)
        else:
            savemat(path.with_name(f"{path.stem}_ann.mat"), {"annPoints": sample.points})
