"""Commands that pages show, checked: run on small data where that can be, else read by the program's own parser."""

import argparse
import importlib
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch.distributed.run
from tensorboard import program as tensorboard

import cli
from tests.support.documents import ROOT

Words = Sequence[str]
ON_CPU = ("--trainer.accelerator=cpu", "--trainer.precision=32-true")
FEW_BATCHES = ("--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1")
SHORT: dict[str, tuple[str, ...]] = {
    "fit": (*ON_CPU, "--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", *FEW_BATCHES),
    "test": (*ON_CPU, "--trainer.limit_test_batches=2"),
    "predict": ON_CPU,
    "check": (),
    "export": (),
}
RESTORATION = {"batch_size": 2, "patch_size": 24, "patches_per_image": 2, "num_workers": 0}
SMALL: dict[str, dict[str, object]] = {
    "imagenet": {"total_batch_size": 4, "num_workers": 0, "resize_size": 72, "crop_size": 64},
    "cifar10": {"batch_size": 16, "num_workers": 0},
    "crowd": {"batch_size": 2, "crop_size": 64, "num_workers": 0},
    "realsr": {**RESTORATION, "val_fraction": 0.2},
    "sidd": {**RESTORATION, "val_fraction": 0.25, "block_size": 32},
}
"""Values of the data module that keep the experiments of a folder small."""
ONLY_READ = {
    "configs/trainer/ddp.yaml": "needs several processes",
    "configs/trainer/slurm.yaml": "needs a cluster",
    "configs/imagenet/ad_resnet_s_streaming.yaml": "needs a package that not everyone has",
    "--trainer.callbacks+=SiddSubmission": "needs the whole benchmark",
}
"""Commands with these words are read by the parser, and not run."""
STUDIED = {
    "cifar": "cifar10/lenet",
    "crowd": "crowd/synthetic_acda",
    "restoration": "sample_photos/denoising_acda",
}
"""Experiments that take what a study does not know itself."""
EXTRAS = {"litdata", "."}
"""What pip may install beside what the requirements name."""


class Parsed(Exception):
    """A program has read its arguments; those that it leaves to others come with it."""


def check(words: Words) -> None:
    """Check a command.

    Args:
        words: The program's name and its arguments.

    Raises:
        AssertionError: If there is no way to check it.
        SystemExit: If it fails.
    """
    name = words[0].removeprefix(".venv/bin/")
    assert name in CHECKS, f"no way to check {' '.join(words)}"
    CHECKS[name](list(words[1:]))


def run_cli(words: Words) -> None:
    """Run the command line, on less data and for a shorter time than it says."""
    files = [word for word in words if word.endswith(".yaml")]
    if {"--help", "--print_config"} & set(words):
        return ends_well(words)
    if ONLY_READ.keys() & set(words):
        return read_cli(words)
    sizes = SMALL.get(Path(files[0]).parent.name, {}) if files else {}
    cli.main([*words, *(f"--data.init_args.{key}={value}" for key, value in sizes.items()), *SHORT[words[0]]])


def read_cli(words: Words) -> None:
    """Let the command line read its files and arguments."""
    ends_well([*words, "--print_config"])


def ends_well(words: Words) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*words])
    assert not ended.value.code, f"cli.py {' '.join(words)}"


def python(words: Words) -> None:
    if words[0] == "cli.py":
        return run_cli(words[1:])
    assert words[0] == "-m", f"no way to check python {' '.join(words)}"
    module, arguments = words[1], words[2:]
    if module == "venv":
        assert arguments == [".venv"]
    elif module == "pytest":
        run_pytest(arguments)
    else:
        read_module(module, arguments)


def read_module(name: str, arguments: Words) -> None:
    """Let a program of ours read its arguments with its own parser; what it hands on to ``fit``, with that one's."""
    module = importlib.import_module(name)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{name}.__main__")
    assert 'if __name__ == "__main__":\n    main()' in Path(str(module.__file__)).read_text(encoding="utf-8")
    read = argparse.ArgumentParser.parse_known_args

    def all_of_it(self: argparse.ArgumentParser, args: Words | None = None, namespace: Any = None) -> None:
        options, rest = read(self, args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        raise Parsed(self, options, rest)

    def known(self: argparse.ArgumentParser, args: Words | None = None, namespace: Any = None) -> None:
        raise Parsed(self, *read(self, args, namespace))

    both = mock.patch.multiple(argparse.ArgumentParser, parse_args=all_of_it, parse_known_args=known)
    with both, pytest.raises(Parsed) as parsed:
        module.main(arguments)
    made, options, rest = parsed.value.args
    if name.startswith("benchmarks"):
        assert made.prog == f"python -m {name}", f"{name} calls itself {made.prog}"
    configs = getattr(options, "configs", [])
    if rest:
        config = configs[0] if configs else f"configs/{STUDIED[name.rpartition('.')[2]]}.yaml"
        read_cli(["fit", "--config", config, *rest])
    for config in configs:
        assert Path(config).is_file(), config


def run_pytest(words: Words) -> None:
    """Read by a parser that knows what pages use."""
    markers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]
    parser = argparse.ArgumentParser("pytest")
    parser.add_argument("-n", type=int)
    parser.add_argument("-m", choices=[marker.partition(":")[0] for marker in markers])
    parser.parse_args(words)


def pip(words: Words) -> None:
    """Files of requirements exist, and packages are named in one of them."""
    parser = argparse.ArgumentParser("pip")
    parser.add_argument("command", choices=["install"])
    parser.add_argument("-r", dest="file")
    parser.add_argument("--no-deps", action="store_true")
    parser.add_argument("packages", nargs="*")
    options = parser.parse_intermixed_args(words)
    assert options.file is None or (ROOT / options.file).is_file(), options.file
    required = "\n".join(path.read_text() for path in ROOT.glob("requirements*.txt"))
    assert set(options.packages) <= {*re.findall(r"^[\w-]+", required, re.MULTILINE), *EXTRAS}, options.packages


def torchrun(words: Words) -> None:
    read = torch.distributed.run.get_args_parser().parse_args(words)
    assert read.training_script == "cli.py"
    read_cli(read.training_script_args)


def srun(words: Words) -> None:
    assert list(words[:2]) == ["python", "cli.py"]
    read_cli(words[2:])


def source(words: Words) -> None:
    assert words == [".venv/bin/activate"]


def show(words: Words) -> None:
    tensorboard.TensorBoard().configure(argv=["tensorboard", *words])


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "python": python,
    "python3": python,
    "pip": pip,
    "torchrun": torchrun,
    "srun": srun,
    "source": source,
    "tensorboard": show,
}
