"""Each use of what Lightning does not promise still does what it is for, and there is none elsewhere.

A test that fails here after an update of Lightning says where in Lightning to look.
"""

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lit_modules import lightning_private
from lit_modules.lightning_private import (
    OpenCheckpoint,
    OpenCLI,
    OpenTrainer,
    begin_next_epoch,
    begin_with_validation,
    cluster_environment,
    count_from,
    guard_prediction,
    is_configured,
    is_resumed_between_epochs,
    only_search,
    take_for_todays,
    validation_has_begun,
)
from lit_modules.runs.checkpoint_file import WholeCheckpoints

ROOT = Path(__file__).parents[2]
STEPS = 2
"""Steps in an epoch."""


@contextmanager
def relying_on(use: Any) -> Iterator[None]:
    """Says of a failure which use of Lightning it is about, and where to look."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"Lightning changed. {use.__qualname__}: {inspect.getdoc(use)}\n{error}") from error


def test_a_failure_says_where_to_look() -> None:
    with pytest.raises(AssertionError, match="Look at: ``restarting``"), relying_on(begin_next_epoch):
        raise AttributeError("restarting")


def test_every_use_says_where_to_look() -> None:
    uses = [use for use in vars(lightning_private).values() if inspect.getmodule(use) is lightning_private]
    assert len(uses) == 13
    assert all("Look at:" in inspect.getsource(use) for use in uses)


class Tiny(LightningModule):
    """Notes what it goes through."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(1, width)
        self.configured = is_configured()
        self.seen: list[str] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen.append("step")
        return self.layer(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.seen.append("validation")
        self.log("score", float(len(self.seen)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(STEPS, 1))  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]


class Before(OpenTrainer):
    """Notes how things stand when a stage begins."""

    def before_stage(self) -> None:
        self.stood = (self.global_step, list(self.lightning_module.seen), is_resumed_between_epochs(self))


class NextEpoch(OpenTrainer):
    def before_stage(self) -> None:
        if is_resumed_between_epochs(self):
            begin_next_epoch(self)


def trainer(folder: Path, cls: type[Trainer] = Trainer, **settings: Any) -> Any:
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return cls(default_root_dir=folder, **{"enable_checkpointing": False, **quiet, **settings})


def checkpoint_after(steps: int, folder: Path, *callbacks: Callback) -> Path:
    fitted = trainer(folder, max_steps=steps, num_sanity_val_steps=0, callbacks=list(callbacks))
    fitted.fit(Tiny())
    fitted.save_checkpoint(folder / "saved.ckpt")
    return folder / "saved.ckpt"


def test_a_task_knows_whether_the_command_line_builds_it() -> None:
    with relying_on(is_configured):
        assert not Tiny().configured
        cli = LightningCLI(Tiny, run=False, args=[], save_config_callback=None, trainer_defaults={"accelerator": "cpu"})
        assert cli.model.configured
        assert not is_configured()


def test_the_environment_of_a_trainer_is_known(tmp_path: Path) -> None:
    environment = LightningEnvironment()
    with relying_on(cluster_environment):
        assert cluster_environment(trainer(tmp_path, plugins=[environment])) is environment


class SaveWithin(Callback):
    """Saves a checkpoint within an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(Path(trainer.default_root_dir, "within.ckpt"))


def test_a_stage_begins_when_all_is_restored_and_nothing_done(tmp_path: Path) -> None:
    """And a training knows then whether it goes on between two epochs."""
    checkpoint_after(2 * STEPS, tmp_path, SaveWithin(STEPS + 1))
    for steps in (STEPS + 1, 2 * STEPS):
        path = tmp_path / ("saved.ckpt" if steps == 2 * STEPS else "within.ckpt")
        resumed = trainer(tmp_path, Before, max_epochs=3)
        with relying_on(OpenTrainer._run_stage):
            resumed.fit(Tiny(), ckpt_path=path, weights_only=True)
            assert resumed.stood[:2] == (steps, [])
        with relying_on(is_resumed_between_epochs):
            assert resumed.stood[2] == (steps == 2 * STEPS)


class Rows(CSVLogger):
    """Notes what is logged at which step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))


def test_evaluations_are_logged_at_the_step_of_the_weights(tmp_path: Path) -> None:
    """Within a training, and where the trainer is told which step that is; a step that a task logs itself wins."""
    logger = Rows(tmp_path)
    with relying_on(OpenTrainer.log_evaluation):
        trainer(tmp_path, OpenTrainer, max_epochs=2, logger=logger).fit(Tiny())
        assert [(step, row["epoch"]) for step, row in logger.rows if "score" in row] == [(STEPS, 0), (2 * STEPS, 1)]
    logger.rows.clear()
    evaluator = trainer(tmp_path, OpenTrainer, logger=logger)
    with relying_on(count_from):
        count_from(evaluator, step=7, epoch=3)
        evaluator.validate(Tiny(), verbose=False)
        assert (evaluator.global_step, evaluator.current_epoch) == (7, 3)
        assert [(step, row["epoch"]) for step, row in logger.rows] == [(7, 3)]
    logger.rows.clear()
    evaluator.validate(NamesStep(), verbose=False)
    assert [step for step, _ in logger.rows] == [5]
    evaluator.validate(Silent(), verbose=False)
    assert len(logger.rows) == 1


class NamesStep(Tiny):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("step", 5.0)


class Silent(Tiny):
    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        pass


def test_weights_that_do_not_say_who_saved_them_are_read(tmp_path: Path) -> None:
    path = checkpoint_after(STEPS, tmp_path)
    content = torch.load(path, weights_only=True)
    with relying_on(take_for_todays):
        assert take_for_todays(content) == content  # what it says stays
        assert take_for_todays({"state_dict": {}}).keys() <= content.keys()
        torch.save({"state_dict": content["state_dict"]}, path)
        model = Tiny()
        trainer(tmp_path, plugins=[WholeCheckpoints()]).validate(model, ckpt_path=path, weights_only=True)
        assert torch.equal(model.layer.weight, content["state_dict"]["layer.weight"])


def test_a_training_by_steps_begins_the_next_epoch(tmp_path: Path) -> None:
    path = checkpoint_after(STEPS, tmp_path)
    resumed, model = trainer(tmp_path, NextEpoch, max_steps=2 * STEPS, num_sanity_val_steps=0), Tiny()
    with relying_on(begin_next_epoch):
        resumed.fit(model, ckpt_path=path, weights_only=True)
        assert model.seen == ["step", "step", "validation"]
        assert resumed.current_epoch == 2


class Predicting(Tiny):
    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if len(batch) > 1:
            raise ValueError("one at a time")
        return batch * 10

    def predict_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.arange(3.0), batch_size=2)  # type: ignore[arg-type]


class Seen(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[list[float], list[float], int]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        guard_prediction(trainer, guard_parts)

    def on_predict_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append((batch.tolist(), outputs.tolist(), batch_idx))


def guard_parts(predict: Callable[[Any], None], batch: Tensor) -> None:
    if len(batch) > 1:
        with pytest.raises(ValueError, match="one at a time"):
            predict(batch)
    for part in batch.split(1):
        predict(part)


def test_a_batch_that_fails_is_predicted_in_parts(tmp_path: Path) -> None:
    """Callbacks see the parts, and what was predicted of each; in a second prediction, too."""
    for _ in range(2):
        seen = Seen()
        with relying_on(guard_prediction):
            predictions = trainer(tmp_path, callbacks=[seen]).predict(Predicting())
            assert seen.seen == [([0.0], [0.0], 0), ([1.0], [10.0], 0), ([2.0], [20.0], 1)]
            assert [float(prediction) for prediction in predictions] == [0, 10, 20]


class SaveBeforeValidation(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        validation_has_begun(trainer)
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        begin_with_validation(checkpoint)


def test_a_training_begins_with_the_validation_it_was_to_do(tmp_path: Path) -> None:
    """More than once in a row: numbers of batches that were begun do not add up."""
    path = tmp_path / "before.ckpt"
    checkpoint_after(STEPS, tmp_path, SaveBeforeValidation(path))
    for number in range(2):
        model = Tiny()
        resumed = trainer(tmp_path, max_epochs=2 + number, callbacks=[SaveBeforeValidation(path)])
        with relying_on(begin_with_validation):
            resumed.fit(model, ckpt_path=path, weights_only=True)
            assert model.seen == ["validation", "step", "step", "validation"]
        progress = torch.load(path, weights_only=True)["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        with relying_on(validation_has_begun):
            assert progress["total"]["ready"] == progress["total"]["completed"] + 1


def test_weights_alone_stay_as_they_are() -> None:
    checkpoint: dict[str, Any] = {"state_dict": {}}
    begin_with_validation(checkpoint)
    assert checkpoint == {"state_dict": {}}


class SaveAtStep(OpenCheckpoint):
    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_batch_end(trainer, *args)
        if trainer.global_step == STEPS:
            self.save_last_now(trainer)


@pytest.mark.parametrize("cls", [OpenCheckpoint, SaveAtStep])
def test_the_last_checkpoint_is_written_when_asked_for(tmp_path: Path, cls: type[OpenCheckpoint]) -> None:
    """And the best one of the same step is written all the same."""
    keeps = cls(tmp_path / "kept", filename="best", monitor="score", save_last=True)
    with relying_on(OpenCheckpoint):
        trainer(tmp_path, max_epochs=1, enable_checkpointing=True, callbacks=[keeps]).fit(Tiny())
        assert {path.name for path in (tmp_path / "kept").iterdir()} == {"best.ckpt"} | (
            {"last.ckpt"} if cls is SaveAtStep else set()
        )


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


class Batches(LightningDataModule):
    batch_size = 1

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(torch.ones(STEPS, 1), batch_size=self.batch_size)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


@pytest.mark.parametrize("finder", [LearningRateFinder(num_training_steps=20), BatchSizeFinder(init_val=1)])
def test_a_finder_only_searches(tmp_path: Path, finder: Any) -> None:
    with relying_on(only_search):
        only_search(finder)
        searching = trainer(tmp_path, callbacks=[finder], max_epochs=-1)
        searching.fit(Tiny(), datamodule=Batches())
        assert searching.global_step == 0
        found = finder.optimal_batch_size if isinstance(finder, BatchSizeFinder) else finder.optimal_lr.suggestion()
        assert found == STEPS if isinstance(finder, BatchSizeFinder) else 0 < found < 1


def test_the_command_line_takes_nothing_from_a_checkpoint(tmp_path: Path) -> None:
    path = checkpoint_after(STEPS, tmp_path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "hyper_parameters": {"width": 3}}, path)
    with relying_on(OpenCLI.after_parsing):
        assert Steps("fit", f"--ckpt_path={path}", "--weights_only=true").model.layer.out_features == 1


# There is none elsewhere


HERE = (Path(lightning_private.__file__), Path(__file__))
PRIVATE = re.compile("_[a-zA-Z]")


def files(*parts: str) -> list[Path]:
    return [path for part in parts for path in sorted((ROOT / part).rglob("*.py")) if path not in HERE]


def names_in(path: Path) -> set[str]:
    """Private names of functions, classes, methods and attributes that a file defines."""
    return set(re.findall(r"(?:\bself\.|\bdef |\bclass |^)(_[a-zA-Z]\w*)", path.read_text("utf-8"), re.MULTILINE))


@cache
def lightnings_names() -> set[str]:
    """Private names of Lightning: those that are used in the one file, and all that are none of ours too."""
    lightning = Path(import_module("lightning").__file__ or "").parent
    theirs = set[str]().union(
        *(names_in(path) for part in ("pytorch", "fabric") for path in (lightning / part).rglob("*.py"))
    )
    ours = set[str]().union(*map(names_in, files("acda", "datamodules", "lit_modules", "benchmarks")))
    used = set(re.findall(r"\b_[a-zA-Z]\w*", HERE[0].read_text("utf-8")))
    return (theirs - ours - {"_replace", "_fields", "_asdict", "_make"}) | used


def breaches(source: str) -> list[str]:
    """Private names of Lightning that a file imports, or asks an object for."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("lightning", "pytorch_lightning"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if any(PRIVATE.match(part) for part in name.split("."))]
        elif isinstance(node, ast.Attribute) and node.attr in lightnings_names():
            found.append(node.attr)
    return found


def test_no_other_file_uses_a_private_name_of_lightning() -> None:
    ours = [ROOT / "cli.py", *files("datamodules", "lit_modules", "benchmarks")]  # acda does not know Lightning
    found = {str(path.relative_to(ROOT)): breaches(path.read_text("utf-8")) for path in ours}
    assert len(found) > 100
    assert not {path: names for path, names in found.items() if names}, "take it from lit_modules/lightning_private.py"


@pytest.mark.parametrize(("source", "names"), [
    ("from lightning.pytorch.loops.loop import _Loop", ["lightning.pytorch.loops.loop._Loop"]),
    ("from pytorch_lightning import _logger", ["pytorch_lightning._logger"]),
    ("from lightning.pytorch import Trainer", []),
    ("from torch.utils._pytree import tree_leaves", []),
    ("trainer._accelerator_connector.cluster_environment", ["_accelerator_connector"]),
    ("class A:\n    def f(self):\n        return self._monitor_candidates(1)", ["_monitor_candidates"]),
    ("self._mine = self._mine + 1", []),
])  # fmt: skip
def test_the_check_sees_private_names(source: str, names: list[str]) -> None:
    assert breaches(source) == names


@cache
def private_names_of(cls: type) -> set[str]:
    """Private methods and attributes that a class defines."""
    return {name for name in vars(cls) if PRIVATE.match(name)} | set(
        re.findall(r"self\.(_[a-zA-Z]\w*)(?:: [^=]*)? = ", inspect.getsource(cls))
    )


def overridden(cls: type) -> set[str]:
    """Private names that a class and one of Lightning's among its bases both define."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("lightning.")]
    return private_names_of(cls) & set[str]().union(*map(private_names_of, bases)) - {"_abc_impl"}


def test_no_other_class_overrides_a_private_name_of_lightning() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files("datamodules", "lit_modules")]
    values = [value for name in names for value in vars(import_module(name)).values()]
    classes = {cls.__qualname__: cls for cls in values if inspect.isclass(cls) and cls.__module__ in names}
    assert {"RunTrainer", "CLI", "RunCheckpoint", "CountingTask", "DigitsDataModule"} < classes.keys()
    assert not {name: theirs for name, cls in classes.items() if (theirs := overridden(cls))}
    assert overridden(OpenTrainer) == {"_run_stage"}
    assert overridden(OpenCheckpoint) == {"_last_global_step_saved", "_save_last_checkpoint"}
