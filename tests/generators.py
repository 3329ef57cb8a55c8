"""Seeded writers of small data sets in exactly their published layouts."""

import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

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


def _cifar_images(labels: npt.NDArray[np.int64], classes: int, random: np.random.RandomState) -> Pixels:
    """Noise around a colour that depends on the class, so that there is something to learn: uint8 ``[n, 3072]``."""
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
            "data": _cifar_images(labels, 10, random),
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
            "data": _cifar_images(labels, 100, random),
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
