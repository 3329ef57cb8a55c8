"""Writes ``weights/README.md``: a card for each file of weights, from what stands in the file.

``python -m benchmarks.studies.cards``
"""

from collections.abc import Sequence

from acda.models.weight_files import SUFFIX, WeightFile, list_pretrained, read_weight_file, weights_folder
from benchmarks import records
from benchmarks.studies.recipes import RECIPES
from lit_modules.output import whole_file

FILE = "README.md"
_HEAD = """# Weights

This page says what the weights here do, what they were trained on, and what they are not good for. It is written from
the files by `python -m benchmarks.studies.cards`. How to use them: [pretrained](../docs/pretrained.md).

| name | what it does | file |
|---|---|---|
"""


def make_cards() -> str:
    """Make the text: a table of all recipes, and a card for each file that there is."""
    files = {name: read_weight_file(weights_folder() / f"{name}{SUFFIX}") for name in list_pretrained()}
    rows = []
    for name in {**RECIPES, **files}:
        task = files[name].facts["task"] if name in files else RECIPES[name].task
        size = f"{files[name].path.stat().st_size / 1e6:.2f} MB" if name in files else "not there yet"
        rows.append(f"| `{name}` | {task} | {size} |\n")
    return "".join([_HEAD, *rows, *(_make_card(name, file) for name, file in files.items())])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file.

    Args:
        arguments: Command line, by default the process's.
    """
    records.plain_parser("studies.cards", __doc__).parse_args(arguments)
    with whole_file(weights_folder() / FILE) as unfinished:
        unfinished.write_text(make_cards(), encoding="utf-8")


def _make_card(name: str, file: WeightFile) -> str:
    facts = file.facts
    network = str(file.network_config["class_path"]).rpartition(".")[2]
    parameters = sum(value.numel() for value in file.tensors.values())
    lines = [
        f"\n## {name}\n",
        f"{facts['task'][0].upper()}{facts['task'][1:]}.\n",
        f"- **Network**: `{network}`, {parameters:,} numbers in {facts['precision']} precision.",
        f"- **Trained on**: {facts['data']}.",
        f"- **Licence of that data**: {facts['licence']}.",
        f"- **Command**: `{facts['command']}`, {facts['minutes']:g} minutes, commit {facts['commit']}.",
        f"- **Not good for**: {facts['limits']}\n",
    ]
    metrics = list(next(iter(facts["metrics"].values())))
    lines.append(f"| held-out data | {' | '.join(metric.removeprefix('test/') for metric in metrics)} |")
    lines.append(f"|---|{'---|' * len(metrics)}")
    for label, values in facts["metrics"].items():
        lines.append(f"| {label} | {' | '.join(f'{values[metric]:g}' for metric in metrics)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
