"""Arguments of the data modules: written once, handed on by name, and all of them known to the command line."""

import inspect

import pytest
from jsonargparse import ArgumentParser

import datamodules
from datamodules import ImageDataModule

MODULES = [
    getattr(datamodules, name)
    for name in datamodules.__all__
    if name.endswith("DataModule") and name != "ImageDataModule"
]
# What a class states or inherits but decides itself, so that users cannot.
DECIDED = {
    "CleanPhotosDataModule": {"folder", "made_of", "own_folders", "data_dir", "validate_on"},
    "ImageNetDataModule": {"batch_size"},
    "LabelledImagesDataModule": {"total_batch_size"},
    "PairedFoldersDataModule": {"folder", "made_of", "own_folders", "data_dir", "validate_on"},
    "PatternsDataModule": {"batch_size", "num_workers", "predict_dir", "max_pixels"},
    "StreamingImageNetDataModule": {"batch_size"},
    "SyntheticCrowdDataModule": {"part", "coord_offset"},
}


def stated_arguments(module: type[ImageDataModule]) -> set[str]:
    """Names of the arguments of a class and of all that it inherits from, up to ``ImageDataModule``."""
    classes = [owner for owner in module.__mro__ if issubclass(owner, ImageDataModule) and "__init__" in vars(owner)]
    names = {name for owner in classes for name in inspect.signature(owner.__init__).parameters}
    return names - {"self", "kwargs"}


@pytest.mark.parametrize("module", MODULES)
def test_the_command_line_knows_all_arguments_with_type_and_help(module: type[ImageDataModule]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(module, fail_untyped=True)
    found = {action.dest: action for action in parser._actions if not action.dest.endswith("help")}
    assert found.keys() == stated_arguments(module) - DECIDED.get(module.__name__, set())
    assert not [name for name, action in found.items() if not (action.help or "").strip()]
    assert not [name for name, action in found.items() if not (action.type or action._typehint)]


@pytest.mark.parametrize("module", [ImageDataModule, *MODULES])
def test_arguments_are_taken_by_name(module: type[ImageDataModule]) -> None:
    """So that none of two of one type can be given in the place of the other; but for what stands for itself."""
    kinds = inspect.signature(module).parameters.values()
    positional = [parameter.name for parameter in kinds if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    if module is ImageDataModule:  # users' own classes call it so
        assert positional == ["batch_size", "num_workers", "predict_dir"]
    else:
        assert positional in ([], ["images_dir"], ["data_dir"], ["data_dir", "part"], ["task", "data_dir"], ["url"])


@pytest.mark.parametrize("module", MODULES)
def test_an_unknown_argument_is_named(module: type[ImageDataModule]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'bath_size'"):
        module(bath_size=8)


@pytest.mark.parametrize("module", [module for module in MODULES if module.__name__ in DECIDED])
def test_what_a_class_decides_cannot_be_given(module: type[ImageDataModule]) -> None:
    for name in DECIDED[module.__name__]:
        with pytest.raises(TypeError, match=f"'{name}'"):
            module(**{name: 1})


def test_the_base_takes_its_arguments_by_position_too() -> None:
    class Own(ImageDataModule):
        def train_samples(self) -> None: ...

        val_samples = test_samples = predict_samples = train_samples

    data = Own(8, 2, "images")
    assert (data.batch_size, data.num_workers, data.predict_dir) == (8, 2, "images")
