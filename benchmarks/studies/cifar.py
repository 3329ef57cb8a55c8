"""Trains LeNet with plain convolutions and with ACDA on CIFAR-10 and CIFAR-100 (paper Table 1).

``python -m benchmarks.studies.cifar --csv benchmarks/results/cifar.csv``

``--pack FILE`` writes the first images of CIFAR-10's published files as one file of arrays, below 60 MB, for a machine
that has no access to them; ``--arrays FILE`` trains on it. With fewer images errors are higher than in the literature:
the two networks are compared with each other.
"""

import pickle
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.studies import study
from benchmarks.studies.matching import network_in, parameters
from datamodules.classification.cifar_files import read_images, read_names

DATA = ("cifar10", "cifar100")
CONFIGS = {"plain": "configs/{data}/lenet.yaml", "ACDA": "configs/{data}/lenet_acda.yaml"}
_SIZES = {"train": 15_000, "test": 3_000}  # images of 3 KB: 55 MB
# As published.
_FOLDER, _CLASSES = "cifar-10-batches-py", 10
_FILES = {"train": [f"data_batch_{n}" for n in range(1, 6)], "test": ["test_batch"]}


def pack(data_dir: str, file: Path, sizes: dict[str, int]) -> None:
    """Write the first images of the published training and test files as arrays.

    Args:
        data_dir: Holds the published folder.
        file: Where to write, ``.npz``.
        sizes: How many images of ``"train"`` and ``"test"``.
    """
    folder = Path(data_dir) / _FOLDER
    names = read_names(folder / "batches.meta", "label_names", _CLASSES)
    arrays: dict[str, npt.NDArray[Any]] = {"names": np.array(names)}
    for split, files in _FILES.items():
        images, labels = zip(*(read_images(folder / name, "labels", _CLASSES) for name in files), strict=True)
        arrays[f"{split}_images"] = np.concatenate(images)[: sizes[split]]
        arrays[f"{split}_labels"] = np.concatenate(labels)[: sizes[split]]
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def unpack(file: Path, data_dir: Path) -> None:
    """Write the files that are published from one of arrays.

    Args:
        file: From :func:`pack`.
        data_dir: Where the published folder is written.
    """
    folder = data_dir / _FOLDER
    folder.mkdir(parents=True)

    def write(name: str, content: object) -> None:
        (folder / name).write_bytes(pickle.dumps(content))

    with np.load(file, allow_pickle=False) as arrays:
        write("batches.meta", {"label_names": arrays["names"].tolist()})
        for split, names in _FILES.items():
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
            flat = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
            parts = (np.array_split(each, len(names)) for each in (flat, labels))
            for name, some, of_them in zip(names, *parts, strict=True):
                write(name, {"data": np.ascontiguousarray(some), "labels": of_them.tolist()})


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison, print the table, write the rows; or pack the images.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.

    Raises:
        SystemExit: If a file that is to be read is not there.
    """
    parser = study.parser("studies.cifar", __doc__)
    parser.add_argument("--data", nargs="+", choices=DATA, default=["cifar10"], help="default: cifar10")
    parser.add_argument("--only", nargs="+", choices=tuple(CONFIGS), default=tuple(CONFIGS), help="default: both")
    parser.add_argument("--epochs", type=int, default=100, help="of each training (default 100)")
    parser.add_argument("--data-dir", default="data", help="holds the published folder (default: data)")
    parser.add_argument("--arrays", type=Path, help="train on the images of this file instead")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write such a file, train nothing")
    options, further = parser.parse_known_args(arguments)
    if options.pack is not None:
        pack(options.data_dir, options.pack, _SIZES)
        return
    if options.arrays is not None and not options.arrays.is_file():
        sys.exit(f"--arrays must be a file that --pack wrote, got {options.arrays}")
    if options.arrays is not None and options.data != ["cifar10"]:
        sys.exit(f"--arrays has images of cifar10, got --data {' '.join(options.data)}")
    with tempfile.TemporaryDirectory() as scratch:
        if options.arrays is not None:
            unpack(options.arrays, Path(scratch))
        data_dir = options.data_dir if options.arrays is None else scratch
        images = "all" if options.arrays is None else options.arrays.name
        recipe = [
            f"--data.init_args.data_dir={data_dir}",
            f"--trainer.max_epochs={options.epochs}",
            f"--model.init_args.lr_scheduler.init_args.T_max={options.epochs}",
        ]
        candidates = [
            study.Candidate(
                config,
                {
                    "data": data,
                    "convolution": name,
                    "parameters": parameters(partial(network_in, config)),
                    "images": images,
                    "epochs": options.epochs,
                },
                ["test/top1_error"],
                recipe,
            )
            for data in options.data
            for name in options.only
            for config in [CONFIGS[name].format(data=data)]
        ]
        study.run(candidates, options, further)


if __name__ == "__main__":
    main()
