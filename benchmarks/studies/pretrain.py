"""Trains the weights that come with this project, one file in ``weights/`` for each name.

``python -m benchmarks.studies.pretrain denoise_real``

Trains by the recipe of that name (``benchmarks/studies/recipes.py``), tests the best checkpoint, and writes
``weights/NAME.safetensors``, its rows in ``benchmarks/results/pretrained.csv`` and the cards, ``weights/README.md``. A
command that was interrupted goes on where it stopped. The file is in half precision if all metrics are then the same to
the digits that are quoted, else in single precision; the metrics are those of the file itself. ``--score`` trains
nothing: it tests the file that is there once more, on all that its recipe names, and writes what it finds.
"""

import csv
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from acda.models.weight_files import SUFFIX, encode_weights, find_pretrained, read_weight_file, weights_folder
from benchmarks import records
from benchmarks.machine import ROOT, machine
from benchmarks.processes import call
from benchmarks.studies import cards
from benchmarks.studies.recipes import RECIPES, Recipe, Stage
from benchmarks.studies.study import add_seconds, find_newest_run, read_seconds, resume
from lit_modules.output import whole_file
from lit_modules.runs import Checkpoint, find_best_checkpoint
from lit_modules.runs.checkpoints import read_checkpoint
from lit_modules.runs.weight_checkpoints import pack_weights

LARGEST = 10_000_000  # bytes of a file
_PRECISIONS = {"half": True, "single": False}

Metrics = dict[str, dict[str, float]]
"""By the name of the held-out data, by the name of the metric."""


class Places(NamedTuple):
    """Where things are.

    Attributes:
        data: The folder of all data.
        runs: The folder of this name's trainings and tests.
        csv: The table of all metrics.
    """

    data: Path
    runs: Path
    csv: Path


def train(stage: Stage, start: Path | None, places: Places, further: Sequence[str]) -> Path:
    """Train a stage to its end, from where it was if it was interrupted.

    Args:
        stage: What is trained.
        start: Checkpoint whose weights it starts from; None: random ones.
        places: Where things are.
        further: Arguments for ``fit``.

    Returns:
        The best checkpoint.

    Raises:
        SystemExit: If ``fit`` fails, or what is there was trained by another command.
    """
    root = places.runs / stage.folder
    command = ["fit", f"--config={stage.config}", f"--trainer.default_root_dir={root}", *stage.arguments, *further]
    command += [f"--data.init_args.{name}={places.data / path}" for name, path in stage.folders.items()]
    if stage.mixed is not None:
        command.append(f"--data.init_args.mix_with.clean_dir={places.data / stage.mixed}")
    if start is not None:
        command += ["--trainer.callbacks+=WarmStart", f"--trainer.callbacks.weights={start}"]
    noted, finished = root / "command.txt", root / "seconds.txt"
    if noted.is_file() and noted.read_text(encoding="utf-8") != "\n".join(command):
        sys.exit(f"{root} was trained by another command: remove it, or name another folder with --runs")
    if not finished.is_file():
        root.mkdir(parents=True, exist_ok=True)
        noted.write_text("\n".join(command), encoding="utf-8")
        with add_seconds(root / "spent.txt"):
            _run([*command, *resume(root)])
        shutil.copy(root / "spent.txt", finished)  # last: it says that the training is finished
    return find_best_checkpoint(find_newest_run(root))


def pack(checkpoint: Path, stage: Stage, facts: Mapping[str, Any], half: bool) -> bytes:
    """Make the content of a file of weights of a checkpoint, which is tied to no folder of this machine.

    Args:
        checkpoint: The checkpoint.
        stage: What made it.
        facts: What is known of it.
        half: Whether to store it in half precision.
    """
    stored = Checkpoint(checkpoint).stored_config("test")
    stored["data"]["init_args"].pop("mix_with", None)  # nobody trains with a file of weights
    data = resolve_name(stored["data"]["class_path"])(**stored["data"]["init_args"])
    names = getattr(data, "class_names", None)
    return pack_weights(
        read_checkpoint(checkpoint),
        stored,
        facts,
        half=half,
        model={} if names is None else {"class_names": list(names)},
        data={name: str(Path("data", path)) for name, path in stage.folders.items()},
    )


def test(file: Path, recipe: Recipe, places: Places) -> Metrics:
    """Test a file of weights on all held-out data of its recipe.

    Args:
        file: The file.
        recipe: The recipe.
        places: Where things are.
    """
    found: Metrics = {}
    for number, (label, arguments) in enumerate(recipe.tests.items()):
        root = places.runs / "tests" / f"{file.parent.name}_{number}"
        shutil.rmtree(root, ignore_errors=True)
        folders = recipe.stages[-1].folders.items()
        command = ["test", f"--ckpt_path={file}", f"--trainer.default_root_dir={root}"]
        command += [f"--data.init_args.{name}={places.data / path}" for name, path in folders]
        _run([*command, *(argument.format(data=places.data) for argument in arguments)])
        with (root / "pretrained" / file.stem / "test" / "metrics.csv").open(newline="") as table:
            row = list(csv.DictReader(table))[-1]
        found[label] = {metric: round(float(row[metric]), digits) for metric, digits in recipe.metrics.items()}
    return found


def make(name: str, places: Places, further: Sequence[str]) -> Path:
    """Train, test and write the weights of a name.

    Args:
        name: Key of ``RECIPES``.
        places: Where things are.
        further: Arguments for ``fit``.

    Returns:
        The file.

    Raises:
        SystemExit: If a command fails, or the file is too large.
    """
    recipe = RECIPES[name]
    checkpoint: Path | None = None
    for stage in recipe.stages:
        checkpoint = train(stage, checkpoint, places, further)
    assert checkpoint is not None
    facts = {
        **{key: getattr(recipe, key) for key in ("task", "data", "licence", "limits")},
        "command": " ".join(["python -m benchmarks.studies.pretrain", name, *further]),
        "commit": machine()["commit"],
        "minutes": round(sum(read_seconds(places.runs / x.folder / "spent.txt") for x in recipe.stages) / 60, 1),
    }
    measured: dict[str, Metrics] = {}
    for precision, half in _PRECISIONS.items():
        trial = places.runs / "weights" / precision / f"{name}{SUFFIX}"
        with whole_file(trial) as unfinished:
            unfinished.write_bytes(pack(checkpoint, recipe.stages[-1], facts, half))
        measured[precision] = test(trial, recipe, places)
    chosen = "half" if measured["half"] == measured["single"] else "single"
    content = pack(
        checkpoint, recipe.stages[-1], {**facts, "precision": chosen, "metrics": measured[chosen]}, chosen == "half"
    )
    if len(content) > LARGEST:
        sys.exit(f"{name} has {len(content):,} bytes, more than {LARGEST:,}: make its network smaller")
    path = weights_folder() / f"{name}{SUFFIX}"
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)
    return path


def score(name: str, places: Places) -> Path:
    """Test the file of a name, and write what is found into it.

    Args:
        name: Key of ``RECIPES``.
        places: Where things are.

    Returns:
        The file.

    Raises:
        SystemExit: If there is none, or a command fails.
    """
    try:
        file = read_weight_file(find_pretrained(name))
    except ValueError as error:
        sys.exit(str(error))
    facts = {**file.facts, "metrics": test(file.path, RECIPES[name], places)}
    with whole_file(file.path) as unfinished:
        unfinished.write_bytes(encode_weights(file.tensors, file.config, facts, facts["precision"] == "half"))
    return file.path


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the weights of a name, or score those that there are.

    Args:
        arguments: Command line, by default the process's; what is not known here goes to ``fit``.

    Raises:
        SystemExit: If a command fails, there is nothing to score, or the command line is wrong.
    """
    parser = records.plain_parser("studies.pretrain", __doc__, epilog="What is not known here goes to fit.")
    parser.add_argument("name", choices=tuple(RECIPES), help="which weights")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of all data (default: data)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/pretrained"), help="folder of trainings (default: runs/pretrained)"
    )
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks/results/pretrained.csv", help="table of metrics")
    parser.add_argument("--score", action="store_true", help="train nothing, test the file that is there")
    options, further = parser.parse_known_args(arguments)
    if options.score and further:
        parser.error(f"--score trains nothing, got {' '.join(further)}")
    places = Places(options.data.absolute(), options.runs.absolute() / options.name, options.csv)
    path = score(options.name, places) if options.score else make(options.name, places, further)
    _write_rows(places.csv, options.name, path)
    with whole_file(weights_folder() / cards.FILE) as unfinished:
        unfinished.write_text(cards.make_cards(), encoding="utf-8")
    facts = read_weight_file(path).facts
    print(f"{path}: {path.stat().st_size:,} bytes, {facts['precision']} precision")
    for label, metrics in facts["metrics"].items():
        print(label, *(f"{metric.removeprefix('test/')} {value}" for metric, value in metrics.items()), sep="  ")


def _write_rows(table: Path, name: str, path: Path) -> None:
    """Write the rows of a name in place of its earlier ones."""
    file = read_weight_file(path)
    own: list[records.Row] = [
        {
            "name": name,
            "held_out": label,
            "precision": file.facts["precision"],
            "parameters": sum(value.numel() for value in file.tensors.values()),
            "bytes": path.stat().st_size,
            "step": file.facts["step"],
            "minutes": file.facts["minutes"],
            **metrics,
            "commit": file.facts["commit"],  # the file that was just written is not committed yet
        }
        for label, metrics in file.facts["metrics"].items()
    ]
    others = [row for row in records.read(table) if row["name"] != name] if table.is_file() else []
    records.write(table, sorted([*others, *own], key=lambda row: str(row["name"])))


def _run(arguments: Sequence[str]) -> None:
    code = call(["cli.py", *arguments])
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
