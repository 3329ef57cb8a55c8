"""Trains and tests experiments with several seeds, interleaved, and prints mean and standard deviation of a metric.

``python -m benchmarks.studies.compare configs/digits/lenet.yaml configs/digits/lenet_acda.yaml --metric
test/top1_error``
"""

from collections.abc import Sequence

from benchmarks.studies import study


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and write its table.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit`` and ``test``.
    """
    parser = study.parser("studies.compare", __doc__)
    parser.add_argument("configs", nargs="+", help="experiments to compare")
    parser.add_argument("--metric", action="append", required=True, help="test metric; may be given several times")
    options, further = parser.parse_known_args(arguments)
    candidates = [study.Candidate(config, {"config": config}, options.metric) for config in options.configs]
    study.run(candidates, options, further)


if __name__ == "__main__":
    main()
