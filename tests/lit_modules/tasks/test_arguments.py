"""The command line finds all arguments of a task, with their types and help, wherever in its classes they stand."""

import inspect

import pytest
from jsonargparse import ArgumentParser

from lit_modules import ClassificationTask, CountingTask, PatternTask, RestorationTask, Task, VariationalTask

OPTIMISATION = {"optimizer", "lr_scheduler", "lr_scheduler_interval", "compile_network", "decay_norms_and_biases"}
RESTORATION = {"channels", "loss", "protocol", "shave", "ssim", "tile", "self_ensemble"}
ARGUMENTS: dict[type[Task], set[str]] = {
    ClassificationTask: {"num_classes", "label_smoothing", "mixup_alpha", "class_names"},
    CountingTask: {"density_scale", "loss", "tile", "self_ensemble"},
    PatternTask: {"border"},
    RestorationTask: RESTORATION,
    VariationalTask: RESTORATION,
}


def arguments_of(task: type[Task]) -> dict[str, tuple[object, object, str]]:
    """Type, default and help of each argument, as the command line has them."""
    parser = ArgumentParser()
    parser.add_class_arguments(task, "task", fail_untyped=True)
    actions = {action.dest.removeprefix("task."): action for action in parser._actions if "task." in action.dest}
    return {
        name: (getattr(action, "_typehint", action.type), action.default, action.help)
        for name, action in actions.items()
        if not name.endswith(".help")
    }


@pytest.mark.parametrize("task", ARGUMENTS)
def test_every_argument_has_a_type_and_help(task: type[Task]) -> None:
    found = arguments_of(task)
    assert set(found) == {"network", *OPTIMISATION, *ARGUMENTS[task]}
    for name, (kind, _, text) in found.items():
        assert kind is not None, name
        assert text.strip() and not text.startswith("("), name


@pytest.mark.parametrize("task", ARGUMENTS)
def test_how_tasks_are_optimised_is_stated_once(task: type[Task]) -> None:
    """All tasks have the same optimisation but for the defaults and the compilation that are a task's own."""
    found, expected = arguments_of(task), arguments_of(ClassificationTask)
    own = {PatternTask: {"optimizer"}, VariationalTask: {"compile_network"}}.get(task, set())
    assert {name: found[name] for name in OPTIMISATION - own} == {name: expected[name] for name in OPTIMISATION - own}
    assert OPTIMISATION & set(inspect.signature(task).parameters) == own


def test_defaults_of_a_task_are_its_own() -> None:
    assert arguments_of(PatternTask)["optimizer"][1]["class_path"] == "torch.optim.SGD"
    assert arguments_of(ClassificationTask)["optimizer"][1]["class_path"] == "torch.optim.Adam"
    assert arguments_of(RestorationTask)["protocol"][1] == "per_image"
    assert arguments_of(VariationalTask)["protocol"][1] == "sidd"
    assert "VariationalLoss" in str(arguments_of(VariationalTask)["loss"][0])
