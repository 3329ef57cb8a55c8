"""XML of CVAT, "CVAT for images 1.1"."""

from pathlib import Path
from xml.etree import ElementTree

from datamodules.annotations.marks import Annotations, Marks, Picker, as_positions, check_once, find_centre
from datamodules.errors import DataError


def read_cvat(path: Path, category: str | None) -> Annotations:
    """Read CVAT's points, and centres of its boxes, ellipses and polygons, in pixels.

    Args:
        path: The file.
        category: The objects to pick; None: all.

    Returns:
        What is annotated.

    Raises:
        DataError: If it is no such file; says where.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise DataError(f"'{path}', line {error.position[0]}: is no XML ({error}).") from error
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error
    images = root.findall("image")
    if root.tag != "annotations" or not images:
        inside = f"with {root[0].tag}" if len(root) else "with nothing"
        raise DataError(
            f"'{path}' is no XML of 'CVAT for images 1.1': it is <{root.tag}> {inside} in it. Export it from CVAT so."
        )
    pick = Picker(category)
    marks = []
    for number, image in enumerate(images):
        place = f"'{path}', image {image.get('id', number)}"
        try:
            size = int(image.attrib["height"]), int(image.attrib["width"])
            positions = [
                position
                for shape in image
                if shape.tag != "tag" and pick(shape.attrib["label"])
                for position in _positions(shape, place)
            ]
            name = image.attrib["name"].replace("\\", "/")
        except (KeyError, ValueError) as error:
            raise DataError(f"{place}: is not as CVAT writes it: {type(error).__name__} {error}.") from error
        marks.append(Marks(name, as_positions(positions, place), place, size))
    there = pick.describe(path)
    return Annotations(f"CVAT '{path}': {there}", check_once(marks), "pixels")


def _positions(shape: ElementTree.Element, place: str) -> list[tuple[float, float]]:
    at = shape.attrib
    if shape.tag == "box":  # a rotation is about the centre
        left, top, right, bottom = (float(at[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        if right < left or bottom < top:
            raise DataError(f"{place}: a box from {left:g}, {top:g} to {right:g}, {bottom:g} has a negative size.")
        return [((left + right) / 2, (top + bottom) / 2)]
    if shape.tag == "ellipse":
        return [(float(at["cx"]), float(at["cy"]))]
    if shape.tag in ("points", "polygon"):
        corners = [(float(x), float(y)) for x, y in (pair.split(",") for pair in at["points"].split(";"))]
        if shape.tag == "points":
            return corners
        x, y = find_centre(as_positions(corners, place)).tolist()
        return [(x, y)]
    raise DataError(f"{place}: has a {shape.tag}, which has no one position. Known: points, box, ellipse and polygon.")
