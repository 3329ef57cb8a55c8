"""Counts rendered crowds in strong perspective with ACDA, plain convolutions and CondConv at matched parameters.

``python -m benchmarks.studies.crowd --csv benchmarks/results/crowd.csv``

The first two stages and the decoder stay as they are; the width of the last two stages is chosen for each convolution
so that the whole network has as many parameters as with ACDA. Recipes are alike, those of the YAML files. For ACDA also
whether the largest filters are used where heads are large, as the paper's Figure 7 claims: rank correlation, over all
heads of the test images, of the head's size with the magnitude of the 7×7 coefficients at its centre, and with their
share in the coefficients of all scales; beside it the same before any training.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from scipy.io import loadmat
from scipy.stats import spearmanr
from torch import Tensor

from acda.analysis import capture_scale_magnitudes
from acda.models import AdResNet, CrowdCounter, load_weights
from benchmarks import records
from benchmarks.studies import study
from benchmarks.studies.matching import CONVOLUTIONS, match_width, parameters
from datamodules import SyntheticCrowdDataModule
from lit_modules.runs import find_best_checkpoint

CONFIGS = {
    "ACDA": "configs/crowd/synthetic_acda.yaml",
    "convolution": "configs/crowd/synthetic_conv2d.yaml",
    "CondConv": "configs/crowd/synthetic_cond_conv.yaml",
}
METRICS = ("test/mae", "test/rmse")
WIDTHS = range(2, 97)  # of the third stage; the fourth has twice as much
ACDA_WIDTH = 32
LARGEST = 7  # pixels, side of the largest filters
_BACKBONE = "--model.init_args.network.init_args.backbone.init_args"


def network(name: str, width: int) -> CrowdCounter:
    """Make the counter of the YAML files whose third stage has this width, with a convolution of this name."""
    backbone = AdResNet(
        None,
        conv=CONVOLUTIONS[name].conv,
        plain_depths=(1, 1),
        dynamic_depths=(1, 1),
        widths=(16, 32, width, 2 * width),
        small_images=True,
    )
    return CrowdCounter(backbone, widths=(64, 32, 16))


def candidate(name: str) -> study.Candidate:
    """Describe the counter with a convolution, as wide as it has as many parameters as with ACDA.

    Args:
        name: Key of ``CONFIGS``.
    """
    aim = parameters(lambda: network("ACDA", ACDA_WIDTH))
    width = match_width(lambda width: network(name, width), aim, WIDTHS)
    facts: records.Row = {"convolution": name, "width": width, "parameters": parameters(lambda: network(name, width))}
    return study.Candidate(CONFIGS[name], facts, METRICS, [f"{_BACKBONE}.widths=[16,32,{width},{2 * width}]"])


def correlate_scale_and_size(counter: CrowdCounter, data: SyntheticCrowdDataModule) -> records.Row:
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
    folder = Path(data.data_dir).expanduser() / "part_A_final"
    samples = data.test_samples()
    for index in range(len(samples)):
        batch = samples[index]
        annotation = folder / batch.id[0].replace("images/", "ground_truth/GT_").replace(".jpg", ".mat")
        sizes += loadmat(annotation)["head_sizes"][:, 0].tolist()
        with torch.no_grad(), capture_scale_magnitudes(counter.eval()) as layers:
            counter(batch.image)
        for name, scales in layers.items():
            if LARGEST in scales:
                largest = scales[LARGEST][0]
                share = largest / sum(magnitudes[0] for magnitudes in scales.values())
                for what, values in (("magnitude", largest), ("share", share)):
                    at_heads = _at(values, batch.points[0], batch.image.shape[2:])
                    used.setdefault(f"{name} {what}", []).extend(at_heads)
    return {name: float(spearmanr(sizes, values).statistic) for name, values in used.items()}


def _at(values: Tensor, points: Tensor, size: Sequence[int]) -> list[float]:
    """Read a map's values where points of the image lie."""
    height, width = (-(-side // cells) for side, cells in zip(size, values.shape, strict=True))
    found: list[float] = values[(points[:, 1] / height).long(), (points[:, 0] / width).long()].tolist()
    return found


def figure_7(tried: study.Candidate, run: Path) -> records.Row:
    """Measure columns with the correlations in a trained network, and in one that is untrained; none without ACDA."""
    if tried.facts["convolution"] != "ACDA":
        return {}
    config = yaml.safe_load((run / "config_fit.yaml").read_text())
    data = SyntheticCrowdDataModule(**config["data"]["init_args"])
    torch.manual_seed(config["seed_everything"])
    counter = network("ACDA", ACDA_WIDTH)
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
    parser.add_argument("--only", nargs="+", choices=tuple(CONFIGS), default=tuple(CONFIGS))
    options, further = parser.parse_known_args(arguments)
    study.run([candidate(name) for name in options.only], options, further, figure_7)


if __name__ == "__main__":
    main()
