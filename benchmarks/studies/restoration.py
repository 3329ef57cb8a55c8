"""Restores photographs with ACDA, plain convolutions and predicted kernels at matched parameters, and variationally.

``python -m benchmarks.studies.restoration --csv benchmarks/results/restoration.csv``

Denoising and super-resolution by 2 of sample photographs, which need no download; with ``--task`` also zoom (City100,
in RealSR's layout) and noise of cameras (PolyU, in SIDD's layout), from folders of these names in ``--data-dir``.
Networks and recipes are those of ``configs/sample_photos``; noise is also removed by the restorer with ACDA in its
variational form, whose estimator of the noise has parameters beside. PSNR and SSIM, of RGB where the noise is coloured
and of Y in super-resolution, are those of photographs of which nothing was trained on, beside those of the images as
they came.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import records
from benchmarks.studies import study
from benchmarks.studies.matching import network_in, parameters


class Task(NamedTuple):
    """What is restored.

    Attributes:
        recipe: The experiments in ``configs/sample_photos`` whose networks and recipes are taken.
        metrics: What is measured: all channels jointly where the noise is coloured, else Y.
        data: Arguments of the command line for other data than the sample photographs.
    """

    recipe: str
    metrics: Sequence[str]
    data: Sequence[str] = ()


_SHORT = ("--data.init_args.patches_per_image=20",)  # there are some 90 images, not two
_OF_Y, _OF_RGB = ("psnr_y", "ssim_y"), ("psnr", "ssim")


def _zoom(scale: int, camera: str) -> Task:
    data = (
        "--data=datamodules.RealSRDataModule",
        *_SHORT,
        f"--data.init_args.scale={scale}",
        f"--data.init_args.cameras={camera}",
    )
    return Task("super_resolution", _OF_Y, (*data, "--model.init_args.protocol=realsr_official"))


TASKS = {
    "denoising": Task("denoising", _OF_RGB),
    "super_resolution": Task("super_resolution", _OF_Y),
    "city100_nikon": _zoom(3, "Nikon"),
    "city100_canon": _zoom(2, "Canon"),
    "polyu": Task("denoising", _OF_RGB, ("--data=datamodules.SIDDDataModule", *_SHORT)),
}
NETWORKS = {"ACDA": "acda", "convolution": "conv2d", "KPN": "kpn", "variational ACDA": "variational"}


def networks(task: str) -> list[str]:
    """List the keys of ``NETWORKS`` that there is an experiment of for a task: the variational form is for noise."""
    return [name for name in NETWORKS if name != "variational ACDA" or TASKS[task].recipe == "denoising"]


def candidate(task: str, name: str, data_dir: Path = Path("data")) -> study.Candidate:
    """Describe the experiment of a task with a network.

    Args:
        task: Key of ``TASKS``.
        name: One of ``networks(task)``.
        data_dir: Holds a folder named as the task, unless that takes the sample photographs.
    """
    recipe, measured, data = TASKS[task]
    config = f"configs/sample_photos/{recipe}_{NETWORKS[name]}.yaml"
    facts: records.Row = {"task": task, "network": name, "parameters": parameters(lambda: network_in(config))}
    metrics = [f"test/{metric}{of}" for of in ("", "_input") for metric in measured]
    folder = [f"--data.init_args.data_dir={data_dir / task}"] if data else []
    return study.Candidate(config, facts, metrics, [*data, *folder])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.
    """
    parser = study.parser("studies.restoration", __doc__)
    parser.add_argument(
        "--task",
        nargs="+",
        choices=tuple(TASKS),
        default=("denoising", "super_resolution"),
        help="default: denoising super_resolution",
    )
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="folder of other data (default: data)")
    parser.add_argument("--only", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS), help="default: all")
    options, further = parser.parse_known_args(arguments)
    candidates = [
        candidate(task, name, options.data_dir)
        for task in options.task
        for name in networks(task)
        if name in options.only
    ]
    study.run(candidates, options, further)


if __name__ == "__main__":
    main()
