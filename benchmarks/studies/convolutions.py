"""Trains a small Ad-ResNet with each convolution at about the same number of parameters, and compares test errors.

``python -m benchmarks.studies.convolutions --csv benchmarks/results/convolutions.csv``

The first two stages stay as they are; the width of the last two is chosen for each convolution so that the whole
network has as many parameters as with ACDA, or as near as it gets. Recipes are alike, those of the YAML files.
"""

from collections.abc import Sequence

from acda.models import AdResNet
from benchmarks import records
from benchmarks.studies import study
from benchmarks.studies.matching import CONVOLUTIONS, match_width, parameters

CONFIGS = {"textures": ("configs/textures/ad_resnet.yaml", 4), "digits": ("configs/digits/ad_resnet.yaml", 10)}
NETWORK = "--model.init_args.network.init_args"
WIDTHS = range(2, 97)  # of the third stage; the fourth has twice as much
ACDA_WIDTH = 16


def network(name: str, width: int, num_classes: int) -> AdResNet:
    """Make the network whose third stage has this width, with a convolution of this name."""
    return AdResNet(
        num_classes,
        1,
        CONVOLUTIONS[name].conv,
        plain_depths=(1, 1),
        dynamic_depths=(1, 1),
        widths=(8, 16, width, 2 * width),
        small_images=True,
    )


def candidate(data: str, name: str) -> study.Candidate:
    """Describe the network with a convolution, as wide as it has as many parameters as with ACDA.

    Args:
        data: Key of ``CONFIGS``.
        name: Key of ``CONVOLUTIONS``.
    """
    config, classes = CONFIGS[data]
    aim = parameters(lambda: network("ACDA", ACDA_WIDTH, classes))
    width = match_width(lambda width: network(name, width, classes), aim, WIDTHS)
    count = parameters(lambda: network(name, width, classes))
    facts: records.Row = {"data": data, "convolution": name, "width": width, "parameters": count}
    widths = f"{NETWORK}.widths=[8,16,{width},{2 * width}]"
    return study.Candidate(config, facts, ["test/top1_error"], [*CONVOLUTIONS[name].options(NETWORK), widths])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison, print the table, write the rows.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.
    """
    parser = study.parser("studies.convolutions", __doc__)
    parser.add_argument("--data", nargs="+", choices=tuple(CONFIGS), default=tuple(CONFIGS), help="default: all")
    parser.add_argument("--only", nargs="+", choices=tuple(CONVOLUTIONS), default=tuple(CONVOLUTIONS))
    options, further = parser.parse_known_args(arguments)
    candidates = [candidate(data, name) for data in options.data for name in options.only]
    study.run(candidates, options, further)


if __name__ == "__main__":
    main()
