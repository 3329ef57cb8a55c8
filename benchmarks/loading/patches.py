"""Training patches in a second: cropped from files converted once, against decoding the published PNGs for each.

``python -m benchmarks.loading.patches --csv benchmarks/results/patch_loading.csv``

The images are scikit-image's and scikit-learn's photographs, enlarged and made noisy, in SIDD's layout. One thread, no
workers; files are in the page cache. Both ways must crop the same pixels before they are timed.
"""

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data as photographs
from torch import Tensor

from benchmarks import records
from benchmarks.speed import timing
from datamodules import SIDDDataModule
from datamodules.restoration.samples import RandomPatches

REFERENCE = "decoded PNG"
_CPU = torch.device("cpu")
_SCENES = ("astronaut", "chelsea", "coffee", "rocket")
_HEADINGS = {
    "size": "image",
    "patch": "patch",
    "way": "way",
    "faster": "times faster",
    "patches_per_s": "patches/s",
    "status": "status",
}


def write_scenes(root: Path, height: int, width: int) -> None:
    """Write a pair of images for each of four scenes, as SIDD-Medium has them.

    Args:
        root: Becomes the data set's folder.
        height: Of the images, in pixels.
        width: Of the images, in pixels.
    """
    random = np.random.default_rng(0)
    for number, name in enumerate(_SCENES, 1):
        scene = f"{number:04d}_{number:03d}_S6_00100_00060_3200_L"
        folder = root / "SIDD_Medium_Srgb" / "Data" / scene
        folder.mkdir(parents=True)
        clean = Image.fromarray(getattr(photographs, name)()).resize((width, height), Image.Resampling.BICUBIC)
        noisy = np.asarray(clean) + random.normal(0, 12, (height, width, 3))
        for instance in ("010", "011"):
            clean.save(folder / f"{number:04d}_GT_SRGB_{instance}.PNG", compress_level=1)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
                folder / f"{number:04d}_NOISY_SRGB_{instance}.PNG", compress_level=1
            )


def draw(samples: RandomPatches, count: int) -> list[Tensor]:
    """Draw patches, the same ones each time; evenly from all images.

    Args:
        samples: Hands out patches.
        count: How many.
    """
    torch.manual_seed(0)
    return [samples[number * len(samples) // count].image for number in range(count)]


def measure(root: Path, options: argparse.Namespace) -> list[records.Row]:
    """Check, then time both ways.

    Returns:
        A row for each.
    """
    data = SIDDDataModule(str(root), patch_size=options.patch, patches_per_image=1000, validate_on="test")
    converted = data.train_samples()
    assert isinstance(converted, RandomPatches)
    ways = {
        REFERENCE: (RandomPatches(data.train_pairs, data.read_pair, options.patch, 1000), options.decoded),
        "converted": (converted, options.converted),
    }
    same = all(map(torch.equal, *(draw(samples, 6) for samples, _ in ways.values())))
    status = "ok" if same else "wrong: pixels differ"
    runs = {name: partial(draw, *way) for name, way in ways.items() if same}
    times = timing.time_kinds({"draw": runs}, options.rounds, _CPU)
    rows: list[records.Row] = []
    for name, (_, count) in ways.items():
        row: records.Row = {"size": f"{options.height}x{options.width}", "patch": options.patch, "way": name}
        row |= {"rounds": options.rounds, "patches": count, "status": status, **times.get(name, {})}
        took = records.number(row, "draw_ms")
        row["patches_per_s"] = None if took is None else 1e3 * count / took
        row["faster"] = records.ratio(row, rows[0] if rows else row, "patches_per_s")
        rows.append(row)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("loading.patches", __doc__)
    parser.add_argument("--height", type=int, default=3000, help="of the images in pixels (default 3000)")
    parser.add_argument("--width", type=int, default=5328, help="of the images in pixels (default 5328)")
    parser.add_argument("--patch", type=int, default=128, help="side of a patch in pixels (default 128)")
    parser.add_argument("--rounds", type=int, default=5, help="times each way is timed (default 5)")
    parser.add_argument("--decoded", type=int, default=3, help="patches in a round with decoding (default 3)")
    parser.add_argument("--converted", type=int, default=1000, help="patches in a round without (default 1000)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_scenes(Path(folder), options.height, options.width)
            rows = measure(Path(folder), options)
        print(records.table(rows, _HEADINGS, digits=4))
        if options.csv is not None:
            records.write(options.csv, rows)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
