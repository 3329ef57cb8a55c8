"""What README and the pages in docs/ show works as it stands there: every command, block of code, link and name."""

import ast
import importlib
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from acda.models.weight_files import FOLDER_VARIABLE
from benchmarks.studies.examples import write_cells, write_pairs
from tests.support.commands import check, read_cli, run_cli
from tests.support.crowd_files import write_shanghaitech
from tests.support.documents import PAGES, ROOT, Code, anchors, codes, commands, expand, links, name, options
from tests.support.image_files import write_cifar10, write_images
from tests.support.restoration_files import write_realsr, write_sidd
from tests.support.weights import write_weights
from tests.test_imports import TIERS

README = ROOT / "README.md"
DOCS = [page for page in PAGES if page.parent.name == "docs"]
RUN = Path("runs/digits/lenet_acda/version_0")
EXPERIMENTS = {path.relative_to(ROOT / "configs").with_suffix("").as_posix() for path in ROOT.glob("configs/*/*.yaml")}
PLACES = "acda|benchmarks|configs|datamodules|docs|lit_modules|tests"


def write_photographs(folder: Path, counts: dict[str, int]) -> None:
    """A user's photographs in three classes, so many of each class in each split, or in the folder itself."""
    random = np.random.default_rng(0)
    for split, count in counts.items():
        for number, animal in enumerate(("cat", "dog", "fox")):
            (folder / split / animal).mkdir(parents=True)
            for image in range(count):
                pixels = random.integers(80 * number, 80 * number + 90, (70, 90, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / split / animal / f"IMG_{image}.jpg"), pixels)


def write_arrays(folder: Path) -> None:
    random = np.random.default_rng(0)
    folder.mkdir()
    for split in ("train", "val", "test"):
        images = random.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
        np.savez(folder / f"{split}.npz", images=images, labels=np.arange(12) % 3)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone's, with data of every kind that the pages train on, and a run that was trained."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "configs").symlink_to(ROOT / "configs")
    write_images(folder / "my_images", seed=0)
    write_photographs(folder / "my_photographs", {"train": 4, "val": 2})
    write_photographs(folder / "my_animals", {"": 10})
    write_arrays(folder / "my_data")
    write_cifar10(folder / "data", seed=0, per_file=20)
    write_shanghaitech(folder / "data" / "shanghaitech", "A", seed=0)
    write_realsr(folder / "data" / "realsr", seed=0, scales=(2,))
    write_sidd(folder / "data" / "sidd", seed=0)
    write_cells(folder / "my_cells", count=8)
    write_pairs(folder / "my_pairs", count=10)
    write_photographs(folder / "my_photos", {"": 1})
    write_weights(folder / "weights", "restorer").rename(folder / "weights" / "denoise_real.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("SLURM_JOB_ID", raising=False)
        run_cli(["fit", "--config", "configs/digits/lenet_acda.yaml"])
    return folder


@pytest.fixture
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In that folder, as it was made, with weights of the names that pages use."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(place / "weights"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(".")
    before = set(sys.modules)
    yield
    for own in [module for module in sys.modules if module not in before and module.startswith("my_")]:
        del sys.modules[own]
    kept = {RUN, *RUN.parents, RUN / "checkpoints"}
    for folder in [path for path in Path("runs").glob("**/") if path not in kept]:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def _at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where configurations are found, and nothing is written."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.chdir(ROOT)


RESULTS = {
    "README.md": ("predict/predictions.csv", "export/model.onnx"),
    "docs/outputs.md": (
        *("config_fit.yaml", "metrics.csv", "checkpoints/last.ckpt", "predict/predictions.csv"),
        *("test/config_test.yaml", "test/metrics.csv", "test/pictures"),
        *("test/per_class.csv", "test/confusion_matrix.csv"),
        *("predict/index.html", "predict_1/index.html"),
    ),
    "docs/export.md": ("export/model.pt2",),
    "docs/pretrained.md": ("../../../pretrained/denoise_real/predict/index.html",),
}
"""What a reader finds in the run's folder, who did what a page says."""


@pytest.mark.slow
@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_runs(page: Path) -> None:
    """In the page's order. Blocks of Python share their names; those with a file's name are that file."""
    done: list[list[str]] = []
    names: dict[str, object] = {"__name__": page.stem}
    for code in codes(page):
        assert code.language in ("", "sh", "python", "yaml", "text"), f"no way to check a block of {code.language!r}"
        if code.file is not None:
            Path(code.file).write_text(code.text)
            importlib.invalidate_caches()
        elif code.language == "python":
            exec(compile(code.text, name(page), "exec"), names)
        for command in commands(code):
            if command not in done:
                check(command)
                done.append(command)
    for file in RESULTS.get(name(page), ()):
        assert (RUN / file).exists(), file


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_one_that_is_checked(page: Path) -> None:
    blocks = [code for code in codes(page) if code.language]
    used = " ".join(" ".join(command) for code in blocks for command in commands(code))
    python = "\n".join(code.text for code in blocks if code.language == "python")
    for block in blocks:
        if block.language == "python":
            ast.parse(block.text)
            assert block.file is None or re.search(
                rf"^import .*\b{block.file.removesuffix('.py')}$", python, re.MULTILINE
            )
        elif block.language == "yaml":
            yaml.safe_load(block.text)
            assert block.file is not None, "a block of YAML names its file in its first line"
            assert f"--config {block.file}" in used, f"no command uses {block.file}"
        elif block.language == "text":
            assert not re.search(r"\b(python|pip|cli\.py)\b", block.text)
        else:
            assert commands(block)


@pytest.mark.parametrize("page", [README, *DOCS], ids=name)
def test_pages_are_short(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert text.startswith("# ")
    if page != README:
        assert "[README](../README.md)" in text
        assert f"docs/{page.name}" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_is_shown() -> None:
    shown = {Path(link).name for page in PAGES for link in links(page)}
    assert {path.name for path in (ROOT / "docs").glob("*.png")} <= shown


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_name_is_one(page: Path) -> None:
    """Files and folders exist, and what has a module's name can be imported."""
    for code in codes(page):
        for path in re.findall(rf"(?<![\w./])(?:(?:{PLACES})/[\w.*/-]*|cli\.py\b)", code.text):
            assert list(ROOT.glob(path.rstrip("/."))), f"{path} in {code.text}"
        dotted = re.fullmatch(rf"(?:{PLACES}|torch)(?:\.\w+)+", code.text) if not code.language else None
        if dotted and not code.text.endswith(".py"):
            pkgutil.resolve_name(code.text)


CONTEXTS = {
    r"--(standard_operators|output)\b": ["export", "--config", "configs/digits/lenet_acda.yaml"],
    r"--data\.init_args\.download": ["fit", "--config", "configs/cifar10/lenet.yaml"],
    r"--data\.init_args\.validate_on": ["fit", "--config", "configs/crowd/shanghaitech_a_ad_resnet_s.yaml"],
    r"--data\.init_args\.(scale|predict_upscale)|--model\.init_args\.(tile|self_ensemble)": [
        "fit",
        "--config",
        "configs/realsr/acda.yaml",
    ],
    r"--data\.init_args\.(images_dir|annotations|category|coordinates|unlisted|exif)": [
        "fit",
        "--config",
        "configs/own/counting.yaml",
    ],
    r"--data\.init_args\.((degraded|clean)_(dir|name)|scene|scale=2)": [
        "fit",
        "--config",
        "configs/own/restoration_pairs.yaml",
    ],
    r"--data\.init_args\.data_dir": ["fit", "--config", "configs/imagenet/ad_resnet_s.yaml"],
    "": ["fit", "--config", "configs/digits/lenet_acda.yaml"],
}
"""Commands that take options which pages mention in their text, by how these begin."""


@pytest.mark.usefixtures("_at_the_top")
def test_options_in_the_text_are_the_command_lines() -> None:
    found: dict[str, list[str]] = {}
    for words in [options(code) for page in PAGES for code in codes(page)]:
        if words and words[0] not in ("--ckpt_path", "--csv"):  # which commands on the pages show
            words = [word if "=" in word or len(words) > 1 else f"{word}=1" for word in words]
            found.setdefault(next(start for start in CONTEXTS if re.match(start, words[0])), []).extend(words)
    assert len(found) > 3
    for start, words in found.items():
        read_cli([*CONTEXTS[start], *dict.fromkeys(words)])


def test_every_experiment_and_preset_has_a_line() -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    first_columns = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    named = [experiment for pattern in re.findall(r"`([^`]+)`", first_columns) for experiment in expand(pattern)]
    assert len(named) == len(set(named))
    assert set(named) == EXPERIMENTS


def test_the_script_for_slurm_asks_for_what_the_run_takes() -> None:
    (script,) = (code for code in codes(ROOT / "docs" / "clusters.md") if "#SBATCH" in code.text)
    asked = dict(
        re.findall(r"--([\w-]+)(?:=(\S+))?", " ".join(re.findall("^#SBATCH (.*)$", script.text, re.MULTILINE)))
    )
    preset = (ROOT / "configs" / "trainer" / "slurm.yaml").read_text(encoding="utf-8")
    head = dict(re.findall(r"^#   #SBATCH --([\w-]+)(?:=(\S+))?$", preset, re.MULTILINE))
    assert asked.items() <= head.items()
    ((*_, words),) = [commands(script)]
    assert f"--trainer.num_nodes={asked['nodes']}" in words
    assert asked["gres"] == f"gpu:{asked['ntasks-per-node']}"


def test_the_order_of_folders_is_the_one_that_is_enforced() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for package, tiers in TIERS.items():
        line = f"| `{package}` | {' → '.join(', '.join(rooms) for rooms in tiers)} |\n"
        assert line in page, f"the line should be {line}"


def test_the_layer_in_ten_lines() -> None:
    (block,) = (code for code in codes(README) if code.language == "python")
    assert len(block.text.strip().splitlines()) <= 10
    names: dict[str, object] = {}
    exec(block.text, names)
    assert isinstance(names["y"], torch.Tensor)
    assert names["y"].shape == (1, 128, 14, 14)


@pytest.mark.usefixtures("_at_the_top")
@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").rglob("*.py")), ids=name)
def test_commands_in_docstrings_of_benchmarks(script: Path) -> None:
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    for command in re.findall(r"``(python -m .*?)``", text, re.DOTALL):
        check(command.split())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (Code("sh", "python -m venv x && pip install . # more\n#SBATCH --a\n"), ["python -m venv x", "pip install ."]),
        (Code("sh", "python cli.py fit \\\n  --a=1\n"), ["python cli.py fit --a=1"]),
        (Code("", "python cli.py fit --help"), ["python cli.py fit --help"]),
        (Code("", ".venv/bin/pip install ."), [".venv/bin/pip install ."]),
        (Code("", "export --ckpt_path X"), ["export --ckpt_path X"]),
        (Code("", "--option=value"), []),
        (Code("", "kill −9"), []),
        (Code("text", "python cli.py"), []),
    ],
)
def test_commands_are_found(code: Code, found: list[str]) -> None:
    assert [" ".join(command) for command in commands(code)] == found


@pytest.mark.usefixtures("_at_the_top")
@pytest.mark.parametrize(
    "command",
    [
        "conda install acda",
        "pip install -r missing.txt",
        "python setup.py install",
        "python -m benchmarks.gpu --all",
        "python -m pytest -m fast",
        "torchrun --nproc=8 cli.py fit --config configs/nothing.yaml",
        "python cli.py fit --config configs/trainer/ddp.yaml --config configs/digits/lenet.yaml --trainer.epochs=1",
    ],
)
def test_a_wrong_command_is_refused(command: str) -> None:
    with pytest.raises((AssertionError, SystemExit)):
        check(command.split())
