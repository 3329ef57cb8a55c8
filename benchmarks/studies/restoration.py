"""Restores sample photographs with ACDA, plain convolutions and predicted kernels at matched parameters.

``python -m benchmarks.studies.restoration --csv benchmarks/results/restoration.csv``

Denoising and super-resolution by 2; networks and recipes are those of ``configs/sample_photos``. PSNR and SSIM, of RGB
where the noise is coloured and of Y in super-resolution, are those of photographs of which nothing was trained on,
beside those of the images as they came.
"""

from collections.abc import Sequence

from benchmarks import records
from benchmarks.studies import study
from benchmarks.studies.matching import network_in, parameters

# Task → what is measured: all channels jointly where the noise is coloured, else Y.
TASKS = {"denoising": ("psnr", "ssim"), "super_resolution": ("psnr_y", "ssim_y")}
NETWORKS = {"ACDA": "acda", "convolution": "conv2d", "KPN": "kpn"}


def candidate(task: str, name: str) -> study.Candidate:
    """Describe the experiment of a task with a network.

    Args:
        task: Key of ``TASKS``.
        name: Key of ``NETWORKS``.
    """
    config = f"configs/sample_photos/{task}_{NETWORKS[name]}.yaml"
    facts: records.Row = {"task": task, "network": name, "parameters": parameters(lambda: network_in(config))}
    metrics = [f"test/{metric}{of}" for of in ("", "_input") for metric in TASKS[task]]
    return study.Candidate(config, facts, metrics)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.
    """
    parser = study.parser("studies.restoration", __doc__)
    parser.add_argument("--task", nargs="+", choices=tuple(TASKS), default=tuple(TASKS), help="default: both")
    parser.add_argument("--only", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS), help="default: all")
    options, further = parser.parse_known_args(arguments)
    study.run([candidate(task, name) for task in options.task for name in options.only], options, further)


if __name__ == "__main__":
    main()
