"""Seeded writers of small CIFARs, ImageNets and image files of all kinds, exactly as they are published."""

import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.io import savemat

Pixels = npt.NDArray[np.uint8]
ImageFiles = tuple[Path, dict[str, Pixels]]
"""A folder of images, and what each reads as, in RGB, by its path relative to the folder."""


class _Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as the strings of Python 2, with which the published files were written."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def _save_string(self, text: str | bytes) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = _save_string


def write_python2_pickle(path: Path, content: dict[str, Any]) -> None:
    """Write a dictionary as Python 2 with its numpy would have."""
    with path.open("wb") as file:
        _Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(path.read_bytes().replace(b"cnumpy._core.", b"cnumpy.core."))


def _draw_cifar_images(labels: npt.NDArray[np.int64], classes: int, random: np.random.RandomState) -> Pixels:
    """Draw noise around a colour of the class, so that there is something to learn: uint8 ``[n, 3072]``."""
    colours = np.random.RandomState(classes).randint(60, 196, (classes, 3, 1))
    noise = random.randint(-60, 60, (len(labels), 3, 32 * 32))
    return (colours[labels] + noise).astype(np.uint8).reshape(len(labels), -1)


def write_cifar10(root: Path, seed: int = 0, per_file: int = 20) -> Path:
    """Write CIFAR-10's eight files, each batch with ``per_file`` images; returns ``root/cifar-10-batches-py``."""
    random = np.random.RandomState(seed)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        labels = random.permutation(np.arange(per_file) % 10)
        content = {
            "batch_label": name,
            "labels": labels.tolist(),
            "data": _draw_cifar_images(labels, 10, random),
            "filenames": [f"{name}_{number}.png" for number in range(per_file)],
        }
        write_python2_pickle(folder / name, content)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = {"num_cases_per_batch": per_file, "label_names": names, "num_vis": 3072}
    write_python2_pickle(folder / "batches.meta", meta)
    return folder


def write_cifar100(root: Path, seed: int = 0, train: int = 200, test: int = 100) -> Path:
    """Write CIFAR-100's three files; returns ``root/cifar-100-python``."""
    random = np.random.RandomState(seed)
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("test", test)):
        labels = random.permutation(np.arange(count) % 100)
        content = {
            "filenames": [f"{name}_{number}.png" for number in range(count)],
            "batch_label": name,
            "fine_labels": labels.tolist(),
            "coarse_labels": (labels // 5).tolist(),
            "data": _draw_cifar_images(labels, 100, random),
        }
        write_python2_pickle(folder / name, content)
    meta = {
        "fine_label_names": [f"class_{number:02d}" for number in range(100)],
        "coarse_label_names": [f"group_{number:02d}" for number in range(20)],
    }
    write_python2_pickle(folder / "meta", meta)
    return folder


def write_images(folder: Path, seed: int = 0) -> dict[str, Pixels]:
    """Write an image of each odd kind, between files that are none; returns what each reads as, in RGB, by its id.

    What is stored with loss (JPEG) is one colour throughout, which it keeps to within a few levels.
    """
    random = np.random.RandomState(seed)
    (folder / "sub" / "deeper").mkdir(parents=True)
    rgb = random.randint(0, 256, (11, 14, 3), np.uint8)
    grey = random.randint(0, 256, (9, 16), np.uint8)
    fine = random.randint(0, 65536, (7, 12), np.uint16)
    alpha = np.where(random.rand(11, 14) < 0.5, 0, 255).astype(np.uint8)
    expected: dict[str, Pixels] = {}

    def note(name: str, pixels: npt.NDArray[Any]) -> Path:
        expected[name] = np.stack([pixels] * 3, -1).astype(np.uint8) if pixels.ndim == 2 else pixels.astype(np.uint8)
        return folder / name

    Image.fromarray(rgb).save(note("rgb.png", rgb))
    Image.fromarray(rgb).save(note("sub/UPPER.PNG", rgb))
    Image.fromarray(rgb).save(note("sub/deeper/lossless.webp", rgb), lossless=True)
    Image.fromarray(rgb).save(note("sub/rgb.tiff", rgb))
    Image.fromarray(rgb).save(note("sub/rgb.bmp", rgb))
    Image.fromarray(grey).save(note("grey.png", grey))
    Image.fromarray(grey > 127).save(note("black_white.png", np.where(grey > 127, 255, 0)))
    Image.fromarray(fine).save(note("grey16.png", fine >> 8))
    Image.fromarray(fine).save(note("grey16.tif", fine >> 8))
    Image.fromarray(fine.astype(np.int32)).save(note("grey32.tif", fine >> 8))
    cv2.imwrite(str(note("rgb16.png", np.stack([fine >> 8] * 3, -1))), np.stack([fine] * 3, -1))
    on_white = np.where(alpha[..., None] == 255, rgb, 255)
    Image.fromarray(np.dstack([rgb, alpha])).save(note("rgba.png", on_white))
    Image.fromarray(np.stack([grey, np.full_like(grey, 255)], -1)).save(note("grey_alpha.png", grey))
    palette = Image.fromarray(grey // 16)
    palette.putpalette([value for entry in range(256) for value in (entry, 255 - entry, entry // 2)])
    entry = (grey // 16).astype(int)
    colours = np.stack([entry, 255 - entry, entry // 2], -1)
    palette.save(note("palette.png", colours))
    palette.save(note("palette_clear.png", np.where(entry[..., None] == 3, 255, colours)), transparency=3)
    Image.new("CMYK", (10, 8), (255, 0, 0, 0)).save(note("cmyk.jpg", np.full((8, 10, 3), (0, 255, 255))))
    Image.new("L", (5, 6), 77).save(note("grey.jpeg", np.full((6, 5), 77)))
    Image.new("RGB", (1, 1), (9, 8, 7)).save(note("one_pixel.png", np.full((1, 1, 3), (9, 8, 7))))
    turned = Image.fromarray(np.rot90(rgb).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned to the right
    turned.save(note("turned.png", rgb), exif=exif)
    for name in ("notes.txt", ".hidden.png", "sub/image.png.bak"):
        (folder / name).write_bytes(b"not an image")
    return expected


IMAGENET_CLASSES = {
    "n01440764": "tench, Tinca tinca",
    "n02012849": "crane",
    "n02123045": "tabby, tabby cat",
    "n03126707": "crane",
    "n07753592": "banana",
}
"""Words of the classes that :func:`write_imagenet` writes, by WordNet ID; two share theirs, as in ImageNet."""

# As published, ILSVRC2012_IDs do not follow the order of the WordNet IDs.
_IMAGENET_IDS = {"n01440764": 2, "n02012849": 5, "n02123045": 1, "n03126707": 3, "n07753592": 4}


def write_imagenet(root: Path, raw_val: bool = False, seed: int = 0, train: int = 5, val: int = 2) -> Path:
    """Write an ImageNet of five classes; returns ``root``.

    Images are from 30 × 20 to 90 × 60 pixels, upright or not. Of the training images of the first class one each is
    grey, CMYK, a PNG whose suffix is ``.JPEG``, and noted by a camera to be turned.

    Args:
        root: Where to write ``train/`` and ``val/``.
        raw_val: Write validation images as published, with the development kit extracted, instead of in class folders.
        seed: What the images depend on.
        train: Training images of the first class; each further class has one more.
        val: The same for validation.
    """
    random = np.random.RandomState(seed)
    for position, wnid in enumerate(IMAGENET_CLASSES):
        (root / "train" / wnid).mkdir(parents=True)
        for number in range(train + position):
            _write_photograph(root / "train" / wnid / f"{wnid}_{number}.JPEG", position, number, random)
    labels = random.permutation(np.repeat(np.arange(5), val + np.arange(5)))
    for number, position in enumerate(labels, 1):
        wnid = list(IMAGENET_CLASSES)[position]
        folder = root / "val" if raw_val else root / "val" / wnid
        folder.mkdir(parents=True, exist_ok=True)
        _write_photograph(folder / f"ILSVRC2012_val_{number:08d}.JPEG", position, number, random)
    if raw_val:
        write_devkit(root, [_IMAGENET_IDS[list(IMAGENET_CLASSES)[position]] for position in labels])
    return root


def write_devkit(root: Path, ground_truth: list[int]) -> Path:
    """Write ImageNet's development kit, extracted, for the classes of :func:`write_imagenet`; returns its folder."""
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height")
    rows = [
        (number, wnid, IMAGENET_CLASSES[wnid], f"what a {wnid} is", 0, np.zeros((1, 0)), 0)
        for wnid, number in sorted(_IMAGENET_IDS.items(), key=lambda item: item[1])
    ]
    rows.append((6, "n00001740", "entity", "that which exists", 5, np.array([[1, 2, 3, 4, 5]]), 1))
    synsets = np.empty((len(rows), 1), [(field, object) for field in (*fields, "num_train_images")])
    for position, row in enumerate(rows):
        synsets[position, 0] = (*row, 1300 if row[4] == 0 else 0)
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    savemat(folder / "meta.mat", {"synsets": synsets})
    lines = "".join(f"{number}\n" for number in ground_truth)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)
    return folder.parent


def _write_photograph(path: Path, position: int, number: int, random: np.random.RandomState) -> None:
    """Write noise around a colour that depends on the class; the first class has one image of each unusual kind."""
    shape = random.randint(20, 61), random.randint(30, 91)
    height, width = shape if number % 2 else shape[::-1]
    colour = np.random.RandomState(position).randint(60, 196, 3)
    image = Image.fromarray((colour + random.randint(-40, 40, (height, width, 1))).astype(np.uint8))
    kind = number % 5 if position == 0 else 0
    if kind == 3:
        image.save(path, "PNG")
        return
    exif = Image.Exif()
    if kind == 4:
        exif[0x0112] = 6
    image.convert({1: "L", 2: "CMYK"}.get(kind, "RGB")).save(path, "JPEG", quality=95, exif=exif)
