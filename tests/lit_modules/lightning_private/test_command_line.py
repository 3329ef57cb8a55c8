"""What is done to Lightning's command line: its steps, a beginning anew, a task that knows of it."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import LightningCLI
from torch import nn

from lit_modules.lightning_private import OpenCLI, is_configured
from tests.lit_modules.lightning_private.conftest import STEPS, Tiny, checkpoint_after, relying_on


def test_a_task_knows_whether_the_command_line_builds_it() -> None:
    with relying_on(is_configured):
        assert not Tiny().configured
        cli = LightningCLI(Tiny, run=False, args=[], save_config_callback=None, trainer_defaults={"accelerator": "cpu"})
        assert cli.model.configured
        assert not is_configured()


class Steps(OpenCLI):
    """Notes its steps."""

    def __init__(self, *args: Any) -> None:
        self.steps: list[str] = []
        super().__init__(
            Tiny, args=list(args), save_config_callback=None, auto_configure_optimizers=False,
            trainer_defaults={"accelerator": "cpu", "fast_dev_run": True, "enable_progress_bar": False},
        )  # fmt: skip

    def make_subcommand_parser(self, trainer_class: type, subcommand: str, **kwargs: Any) -> Any:
        if subcommand != "fit":
            return self.make_empty_parser(subcommand)
        self.steps.append("parser")
        return super().make_subcommand_parser(trainer_class, subcommand, **kwargs)

    def after_parsing(self) -> None:
        self.steps.append(f"width {self.parser_of('fit').parse_object(self.config.fit).model.width}")

    def instantiate_classes(self) -> None:
        self.steps.append("classes")
        super().instantiate_classes()

    def run_subcommand(self, subcommand: str) -> None:
        self.steps.append(f"before {subcommand}")
        super().run_subcommand(subcommand)
        self.steps.append(f"steps {self.trainer.global_step}")


def test_the_command_line_goes_through_its_steps() -> None:
    with relying_on(OpenCLI):
        assert Steps("fit", "--model.width=2").steps == ["parser", "width 2", "classes", "before fit", "steps 1"]


def test_the_command_line_begins_anew() -> None:
    with relying_on(OpenCLI.begin_anew):
        cli = Steps("fit", "--model.width=2", "--seed_everything=3")
        drawn = torch.rand(1)
        cli.config.fit.model.width = 4
        cli.begin_anew()
        cli.instantiate_classes()
        assert cli.config_dump["model"]["width"] == 4
        torch.manual_seed(3)
        assert cli.model.layer.weight[0, 0] == nn.Linear(1, 4).weight[0, 0] != drawn


def test_the_command_line_takes_nothing_from_a_checkpoint(tmp_path: Path) -> None:
    path = checkpoint_after(STEPS, tmp_path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "hyper_parameters": {"width": 3}}, path)
    with relying_on(OpenCLI.after_parsing):
        assert Steps("fit", f"--ckpt_path={path}", "--weights_only=true").model.layer.out_features == 1
