"""Files from strangers: nothing in them is run, nothing is written where it does not belong, and one error says why."""

import csv
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import Namespace
from PIL import Image
from torch import nn

from acda.models import load_weights
from lit_modules.cli.trust import parse_stored
from tests.cli.conftest import EXPERIMENT, Refuse, run

CONFIGS = Path(__file__).parents[2] / "configs"
TOUCHED = Path("touched")


class Touch:
    """A pickle of it makes a file when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (TOUCHED,)


class TouchTensor(torch.Tensor):
    """The same, in the place of a tensor."""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Path.touch, (TOUCHED,)


def tar_of(content: object) -> bytes:
    """Write the format of PyTorch before 0.1.10: a tar of pickles."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            member, data = tarfile.TarInfo(name), pickle.dumps(content)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


BOOBY_TRAPS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "zip": lambda content: saved({**content, "extra": Touch()}),
    "legacy": lambda content: saved({**content, "extra": Touch()}, _use_new_zipfile_serialization=False),
    "tensor": lambda content: saved({"state_dict": {"net.first.weight": TouchTensor()}}),
    "tar": lambda content: tar_of({**content, "extra": Touch()}),
    "pickle": lambda content: pickle.dumps({**content, "extra": Touch()}),
}


@pytest.mark.parametrize("kind", BOOBY_TRAPS)
def test_a_checkpoint_that_runs_code_is_not_loaded(trained: Path, refuse: Refuse, kind: str) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    trap = BOOBY_TRAPS[kind](torch.load(path, weights_only=True))
    path.write_bytes(trap)
    for command in ("fit", "test", "predict", "export"):
        assert str(path) in refuse(command, "--ckpt_path", path)[0]
    for name in ("best", "last"):
        assert str(path) in refuse("test", "--config", "toy.yaml", "--ckpt_path", name)[0]
    Path("weights.ckpt").write_bytes(trap)
    start = ("--trainer.callbacks+=WarmStart", "--trainer.callbacks.weights=weights.ckpt", "--trainer.accelerator=cpu")
    assert "weights.ckpt" in refuse("fit", "--config", CONFIGS / "digits" / "lenet.yaml", *start)[0]
    with pytest.raises(ValueError, match=r"weights\.ckpt"):
        load_weights(nn.Linear(1, 1), "weights.ckpt")
    assert not TOUCHED.exists()


def test_damaged_weights_are_named() -> None:
    content = {"state_dict": {"weight": torch.zeros(1, 3), 1: torch.zeros(1)}}
    Path("weights.ckpt").write_bytes(saved(content))
    load_weights(nn.Linear(3, 1), "weights.ckpt")
    random = np.random.RandomState(0)
    for zipped in (True, False):
        whole = saved(content, _use_new_zipfile_serialization=zipped)
        for _ in range(100):
            damaged = bytearray(whole)
            for place in random.randint(0, 200, 5):
                damaged[place] = random.randint(0, 256)
            Path("weights.ckpt").write_bytes(damaged)
            try:
                load_weights(nn.Linear(3, 1), "weights.ckpt")  # which by chance may be as good as before
            except ValueError as error:
                assert str(error).startswith("weights 'weights.ckpt'")


# The configuration in a checkpoint

CALL = {"class_path": "os.system", "init_args": {"command": f"touch {TOUCHED}"}}
PROCESS = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(TOUCHED)]}}
LAMBDA = "lightning.pytorch.callbacks.LambdaCallback"


def with_config(path: Path, text: str) -> str:
    """Give a copy of a checkpoint another configuration."""
    torch.save({**torch.load(path, weights_only=True), "config": text}, "stranger.ckpt")
    return "stranger.ckpt"


def config_of(path: Path) -> str:
    text = torch.load(path, weights_only=True)["config"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(("place", "value"), [
    ("model.init_args.optimizer", CALL),
    ("model.init_args.optimizer", yaml.safe_dump(CALL)),
    ("model.init_args.optimizer", {**CALL, "class_path": "torch.os.system"}),
    ("model.init_args.optimizer", "os.system"),
    ("model.init_args.optimizer", "builtins.exec"),
    ("model.init_args.optimizer", "antigravity.fly"),
    ("model.init_args.lr_scheduler", {**CALL, "class_path": "builtins.eval", "init_args": {"source": "1"}}),
    ("model.init_args.lr_scheduler", {"class_path": "torch.optim.lr_scheduler.LambdaLR",
                                      "init_args": {"lr_lambda": CALL}}),
    ("model.init_args.net", CALL),
    ("model.init_args.net.init_args.layer", CALL),
    ("model.init_args.net.init_args.layer", PROCESS),
    ("data", PROCESS),
    ("trainer.callbacks", [PROCESS]),
    ("trainer.callbacks", [{"class_path": LAMBDA, "init_args": {"setup": CALL}}]),
    ("trainer.callbacks", [{"class_path": LAMBDA, "init_args": {"setup": "builtins.breakpoint"}}]),
    ("trainer.logger", [PROCESS]),
    ("trainer.profiler", CALL),
])  # fmt: skip
def test_a_stored_configuration_runs_nothing(trained: Path, refuse: Refuse, place: str, value: object) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    config = section = yaml.safe_load(config_of(path))
    *keys, last = place.split(".")
    for key in keys:
        section = section[key]
    section[last] = value
    stranger = with_config(path, yaml.safe_dump(config))
    for command in ("test", "fit"):
        assert "configuration stored in stranger.ckpt: " in refuse(command, "--ckpt_path", stranger)[0]
        assert not TOUCHED.exists()


def doubled_twelve_times(prefix: str) -> str:
    """Twelve lists, each with the one before ten times: a terabyte when it is written out."""
    lines = [f"{prefix}0: &{prefix}0 [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 12):
        lines.append(f"{prefix}{number}: &{prefix}{number} [{', '.join([f'*{prefix}{number - 1}'] * 10)}]")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("more", [
    f"more: !!python/object/apply:os.system ['touch {TOUCHED}']\n",
    doubled_twelve_times("a"),
    "more: " + "[" * 500 + "]" * 500,
    "more: &more [*more]",
])  # fmt: skip
def test_a_stored_configuration_that_is_no_plain_yaml(trained: Path, refuse: Refuse, more: str) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    stranger = with_config(path, config_of(path) + more)
    assert "configuration stored in stranger.ckpt: " in refuse("test", "--ckpt_path", stranger)[0]
    run("test", "--config", "toy.yaml", "--ckpt_path", stranger)  # for which it does not matter
    assert not TOUCHED.exists()


@pytest.mark.parametrize("text", ["trainer: null", "trainer: [1]\nmodel: 1", "[1, 2]", "model: {}\ntrainer: {}"])
def test_what_is_stored_is_no_configuration(trained: Path, refuse: Refuse, text: str) -> None:
    stranger = with_config(trained / "checkpoints" / "last.ckpt", text)
    for command in ("test", "fit"):
        assert "--config" in refuse(command, "--ckpt_path", stranger)[0]


def test_a_stored_configuration_cannot_ask_to_load_pickled_objects(trained: Path, refuse: Refuse) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    text = config_of(path)
    assert "weights_only: null" in text
    content = {**torch.load(path, weights_only=True), "extra": Touch()}
    torch.save({**content, "config": text.replace("weights_only: null", "weights_only: false")}, path)
    assert "--weights_only=false" in refuse("test", "--ckpt_path", path)[0]
    assert not TOUCHED.exists()


def test_own_classes_in_a_stored_configuration_are_fine(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trained / "checkpoints" / "last.ckpt"
    config = yaml.safe_load(config_of(path))  # its network, layer and data are classes of these tests
    config["trainer"]["callbacks"] = [{"class_path": "tests.cli.toy.Note", "init_args": {"text": "hello"}}]
    run("test", "--ckpt_path", with_config(path, yaml.safe_dump(config)))
    assert "note: hello" in capsys.readouterr().out


@pytest.mark.parametrize("path", ["acda.models.ad_resnet_s", "torch.nn.Conv2d", "lit_modules.losses.PyramidLoss"])
def test_what_configurations_are_made_of_may_be_stored(path: str) -> None:
    config = {"network": {"class_path": path, "init_args": {}}}
    assert parse_stored(lambda values: Namespace(values), config, "file").as_dict() == config


# Configuration files

HOSTILE_FILES: dict[str, str | bytes] = {
    "python tag": f"seed_everything: !!python/object/apply:os.system ['touch {TOUCHED}']",
    "own tag": "seed_everything: !mine 3",
    "key twice": "trainer: {max_epochs: 1}\ntrainer: {max_epochs: 2}",
    "key twice further in": "trainer:\n  max_epochs: 1\n  max_epochs: 2",
    "aliases": doubled_twelve_times("a"),
    "aliases in a list": "trainer:\n  callbacks:\n"
    + "".join(f"  - {line.partition(': ')[2]}\n" for line in doubled_twelve_times("a").splitlines()),
    "alias of itself": "trainer: {callbacks: &a [*a]}",
    "merged with itself": "trainer: &t\n  <<: *t",
    "rubbish": bytes(range(256)),
    "other encoding": "trainer: {default_root_dir: caf\xe9}".encode("latin-1"),
    "zero byte": b"trainer: {max_epochs: 1}\x00",
    "empty": "",
    "list": "- trainer\n- model",
    "tab": "trainer:\n\tmax_epochs: 1",
    "unknown section": "trainning: {max_epochs: 1}",
    "number for a section": "3: 4",
    "null trainer": "trainer: null",
    "null model": "model: null",
    "null data": "data:",
    "null checkpoint": "checkpoint: null",
    "null arguments": "model: {class_path: tests.cli.toy.ToyTask, init_args: null}",
    "two documents": "trainer: {max_epochs: 1}\n---\ntrainer: {max_epochs: 2}",
    "deep lists": "trainer: " + "[" * 500 + "]" * 500,
    "deep keys": "trainer: " + "{a: " * 200 + "1" + "}" * 200,
    "list for a key": "? [a, b]\n: 3",
    "no date": "trainer: {max_epochs: 2020-13-40}",
}


@pytest.mark.parametrize("kind", HOSTILE_FILES)
def test_a_hostile_configuration_file_is_named(refuse: Refuse, kind: str) -> None:
    content = HOSTILE_FILES[kind]
    Path("stranger.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    lines = refuse("fit", "--config", "toy.yaml", "--config", "stranger.yaml")
    assert "stranger.yaml: " in lines[0]
    assert max(map(len, lines)) < 300
    assert not TOUCHED.exists()


def test_a_folder_is_no_configuration_file(refuse: Refuse) -> None:
    Path("folder.yaml").mkdir()
    assert "folder.yaml" in refuse("fit", "--config", "toy.yaml", "--config", "folder.yaml")[0]


def test_aliases_and_merges_in_reason_are_fine() -> None:
    Path("mine.yaml").write_text(EXPERIMENT + "lr_monitor: &one {logging_interval: step}\n")
    Path("more.yaml").write_text("trainer:\n  <<: &few {limit_val_batches: 1}\n  limit_train_batches: 1\n")
    run("fit", "--config", "mine.yaml", "--config", "more.yaml", "--trainer.max_epochs=1")
    trainer = yaml.safe_load(Path("runs/toy/version_0/config_fit.yaml").read_text())["trainer"]
    assert (trainer["limit_val_batches"], trainer["limit_train_batches"]) == (1, 1)


@pytest.mark.parametrize("value", ["os.system", f"{{class_path: os.system, init_args: {{command: touch {TOUCHED}}}}}"])
def test_the_command_line_starts_no_programs(refuse: Refuse, value: str) -> None:
    line = refuse("fit", "--config", "toy.yaml", f"--model.optimizer={value}")[0]
    assert "model.init_args.optimizer" in line
    assert "os.system is not allowed" in line
    assert not TOUCHED.exists()


# Names of images

ODD_NAMES = (
    *("a..png", "a\\..\\b.png", "~.png", "-rf.png", "%2e%2e%2fb.png", "a\nb.png", "a\rb.png", " b.png", "C:.png"),
    *("fol..der/c.png", "folder../d.png", "=cmd|' !A0.png", 'a,b";c.png', "\u202egnp.png"),
    os.fsdecode(b"\xff\xfe.png"),
)


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    """Images of such names, hidden ones, and links to an image, to nothing and to a folder that lie elsewhere."""
    folder, outside = tmp_path / "images", tmp_path / "outside"
    for path in (
        *(folder / name for name in ODD_NAMES),
        folder / "..png",
        folder / "..folder/c.png",
        outside / "a.png",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            Image.new("L", (8, 8), 99).save(file, "png")
    (folder / "link.png").symlink_to(outside / "a.png")
    (folder / "folder.png").symlink_to(outside)
    (folder / "nothing.png").symlink_to(outside / "b.png")
    return folder


def predict(experiment: str, *args: object) -> tuple[object, ...]:
    settings = ("--allow_untrained=true", "--trainer.accelerator=cpu", "--trainer.default_root_dir=results")
    return ("predict", "--config", CONFIGS / f"{experiment}.yaml", *settings, "--data.predict_dir=images", *args)


RESTORE = predict("realsr/conv2d", "--model.network.width=1", "--model.network.depth=1")


FOUND = (*ODD_NAMES, "link.png", "folder.png/a.png")


def test_restored_images_stay_in_their_folder(odd_images: Path, tmp_path: Path, refuse: Refuse) -> None:
    before = set(tmp_path.rglob("*"))
    refuse(*RESTORE, code=1)
    written = {path for path in set(tmp_path.rglob("*")) - before if path.suffix == ".png" and path.is_file()}
    folder = tmp_path / "results" / "version_0" / "predictions"
    assert written == {folder / name for name in FOUND}


def ids_in(table: str) -> set[str]:
    path = Path("results", "version_0", table)
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["id"] for row in csv.DictReader(file)}


def test_names_stay_what_they_are_in_tables(odd_images: Path, refuse: Refuse) -> None:
    (line,) = refuse(*predict("digits/lenet"), code=1)
    assert line == f"error: the prediction lacks 1 inputs, see {Path('results', 'version_0', 'failed.csv')}"
    assert ids_in("predictions.csv") == set(FOUND)
    assert ids_in("failed.csv") == {"nothing.png"}


@pytest.mark.parametrize("length", [251, 255])
def test_a_name_that_is_too_long_with_what_is_added(length: int) -> None:
    name = "x" * (length - 4) + ".bmp"
    Path("images").mkdir()
    for each in ("a.png", name, "z.png"):
        Image.new("L", (8, 8)).save(Path("images", each))
    run(*RESTORE)
    written = {path.name for path in Path("results", "version_0", "predictions").iterdir()}
    assert len(written) == 3
    assert written >= {"a.png", "z.png"}
    assert (f"{name}.png" in written) == (length == 251)
    assert Path("results", "version_0", "renamed.csv").exists() == (length == 255)
