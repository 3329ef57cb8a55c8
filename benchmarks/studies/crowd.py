"""Counts crowds with ACDA, plain convolutions, CondConv and deformable convolutions at matched parameters.

``python -m benchmarks.studies.crowd --csv benchmarks/results/crowd.csv``

``--data`` chooses rendered crowds in strong perspective, or ShanghaiTech A or B. The first two stages and the decoder
stay as they are; the width of the last two stages is chosen for each convolution so that the whole network has as many
parameters as with ACDA. Recipes are alike, those of the YAML files. For ACDA also whether the largest filters are used
where heads are large, as the paper's Figure 7 claims: rank correlation, over all heads of the test images, of the
head's size with the magnitude of the 7×7 coefficients at its centre, and with their share in the coefficients of all
scales; beside it the same before any training. Where sizes are not annotated, the mean distance to a head's three
nearest neighbours stands for its size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from scipy.io import loadmat
from scipy.spatial import KDTree
from scipy.stats import spearmanr
from torch import Tensor, nn

from acda.analysis import capture_scale_magnitudes
from acda.models import load_weights
from benchmarks import records
from benchmarks.studies import study
from benchmarks.studies.matching import CONVOLUTIONS, match_width, network_in, parameters
from datamodules import ShanghaiTechDataModule, SyntheticCrowdDataModule
from datamodules.batches import CrowdBatch
from lit_modules.runs import find_best_checkpoint

CONFIGS = {
    "synthetic": "configs/crowd/synthetic_acda.yaml",
    "shanghaitech_a": "configs/crowd/shanghaitech_a_small.yaml",
    "shanghaitech_b": "configs/crowd/shanghaitech_b_small.yaml",
}
COMPARED = ("ACDA", "convolution", "CondConv", "deformable convolution")
METRICS = ("test/mae", "test/rmse")
PLAIN_WIDTHS = (32, 64)  # of the first two stages
WIDTHS = range(8, 97)  # of the third stage; the fourth has twice as much
LARGEST = 7  # pixels, side of the largest filters
NEIGHBOURS = 3  # of a head, whose mean distance stands for its size
_BACKBONE = "--model.init_args.network.init_args.backbone.init_args"


def network(data: str, name: str, width: int) -> nn.Module:
    """Make the counter of an experiment with another convolution, whose third stage has this width.

    Args:
        data: Key of ``CONFIGS``.
        name: One of ``COMPARED``; ACDA stays as it is in the experiment.
        width: Channels of the third stage's middle convolution; the fourth has twice as much.
    """
    changes: dict[str, Any] = {"widths": [*PLAIN_WIDTHS, width, 2 * width]}
    if name != "ACDA":
        changes["conv"] = {"class_path": CONVOLUTIONS[name].path, "init_args": CONVOLUTIONS[name].arguments}
    return network_in(CONFIGS[data], {"init_args": {"backbone": {"init_args": changes}}})


def candidate(data: str, name: str) -> study.Candidate:
    """Describe the counter with a convolution, as wide as it has as many parameters as with ACDA.

    Args:
        data: Key of ``CONFIGS``.
        name: One of ``COMPARED``.
    """
    aim = parameters(lambda: network_in(CONFIGS[data]))
    width = match_width(lambda width: network(data, name, width), aim, WIDTHS)
    count = parameters(lambda: network(data, name, width))
    facts: records.Row = {"data": data, "convolution": name, "width": width, "parameters": count}
    chosen = [] if name == "ACDA" else CONVOLUTIONS[name].options(_BACKBONE)  # the configurations have ACDA
    widths = f"{_BACKBONE}.widths={[*PLAIN_WIDTHS, width, 2 * width]}".replace(" ", "")
    return study.Candidate(CONFIGS[data], facts, METRICS, [*chosen, widths])


def correlate_scale_and_size(counter: nn.Module, data: ShanghaiTechDataModule) -> records.Row:
    """Correlate how much the largest filters are used with the size of heads.

    Args:
        counter: The network.
        data: Whose test images are looked at.

    Returns:
        For each layer that has such filters, Spearman's rank correlation over all heads of their size with the
        magnitude of the largest scale's coefficients, and with their share in those of all scales.
    """
    sizes: list[float] = []
    used: dict[str, list[float]] = {}
    samples = data.test_samples()
    for index in range(len(samples)):
        batch = samples[index]
        at_heads = head_sizes(batch, data)
        if at_heads is None:
            continue
        sizes += at_heads.tolist()
        with torch.no_grad(), capture_scale_magnitudes(counter.eval()) as layers:
            counter(batch.image)
        for name, scales in layers.items():
            if LARGEST in scales:
                largest = scales[LARGEST][0]
                share = largest / sum(magnitudes[0] for magnitudes in scales.values())
                for what, values in (("magnitude", largest), ("share", share)):
                    found = _at(values, batch.points[0], batch.image.shape[2:])
                    used.setdefault(f"{name} {what}", []).extend(found)
    return {name: float(spearmanr(sizes, values).statistic) for name, values in used.items()}


def head_sizes(batch: CrowdBatch, data: ShanghaiTechDataModule) -> npt.NDArray[np.float64] | None:
    """Tell the sizes of an image's heads in pixels, as drawn, or else the mean distances to their nearest neighbours.

    Args:
        batch: One image.
        data: Where it is from.

    Returns:
        ``[heads]``; None where there are too few heads to tell.
    """
    if isinstance(data, SyntheticCrowdDataModule):
        folder = Path(data.data_dir).expanduser() / "part_A_final"
        annotation = folder / batch.id[0].replace("images/", "ground_truth/GT_").replace(".jpg", ".mat")
        drawn: npt.NDArray[np.float64] = loadmat(annotation)["head_sizes"][:, 0]
        return drawn
    points = batch.points[0].numpy()
    if len(points) <= NEIGHBOURS:
        return None
    distances = np.asarray(KDTree(points).query(points, NEIGHBOURS + 1)[0])[:, 1:]  # each is its own nearest
    spacing: npt.NDArray[np.float64] = distances.mean(1)
    return spacing


def _at(values: Tensor, points: Tensor, size: Sequence[int]) -> list[float]:
    """Read a map's values where points of the image lie."""
    height, width = (-(-side // cells) for side, cells in zip(size, values.shape, strict=True))
    found: list[float] = values[(points[:, 1] / height).long(), (points[:, 0] / width).long()].tolist()
    return found


def figure_7(tried: study.Candidate, run: Path) -> records.Row:
    """Measure columns with the correlations in a trained network, and in one that is untrained; none without ACDA."""
    if tried.facts["convolution"] != "ACDA":
        return {}
    file = run / "config_fit.yaml"  # with what the command line changed of the network
    config = yaml.safe_load(file.read_text())
    made = SyntheticCrowdDataModule if tried.facts["data"] == "synthetic" else ShanghaiTechDataModule
    data = made(**config["data"]["init_args"])
    torch.manual_seed(config["seed_everything"])
    counter = network_in(str(file.resolve()))
    untrained = correlate_scale_and_size(counter, data)
    load_weights(counter, find_best_checkpoint(run))
    trained = correlate_scale_and_size(counter, data)
    return {
        f"{name}, {state}": row[name] for state, row in (("trained", trained), ("untrained", untrained)) for name in row
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.
    """
    parser = study.parser("studies.crowd", __doc__)
    parser.add_argument("--data", nargs="+", choices=tuple(CONFIGS), default=["synthetic"], help="default: synthetic")
    parser.add_argument("--only", nargs="+", choices=COMPARED, default=COMPARED, help="default: all")
    options, further = parser.parse_known_args(arguments)
    candidates = [candidate(data, name) for data in options.data for name in options.only]
    study.run(candidates, options, further, figure_7)


if __name__ == "__main__":
    main()
