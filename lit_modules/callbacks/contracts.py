"""What callbacks ask of a task, and one way to ask. A task of one's own has what its callbacks need."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from lightning.pytorch import Callback
from torch import Tensor, nn

from acda.models.contracts import find_missing, fulfils
from datamodules.batches import Failure
from lit_modules.errors import UsageError
from lit_modules.metrics import Score

T = TypeVar("T")


@runtime_checkable
class HasNetwork(Protocol):
    """A task that trains one network."""

    @property
    def network(self) -> nn.Module:
        """The network."""
        ...


@runtime_checkable
class ShowsInput(HasNetwork, Protocol):
    """A task whose network may be run on a batch."""

    def network_input(self, batch: Any) -> Tensor:
        """Give what of a batch the network may be shown, ``[N, C, H, W]``."""
        ...


@runtime_checkable
class HasTwoNetworks(Protocol):
    """A network made of two that are trained together."""

    @property
    def denoiser(self) -> nn.Module:
        """The one that restores."""
        ...

    @property
    def noise_estimator(self) -> nn.Module:
        """The one that estimates the noise."""
        ...


@runtime_checkable
class DrawsPictures(Protocol):
    """A task that knows which pictures of a batch are worth a look."""

    def pictures(self, batch: Any, output: Any) -> Iterable[tuple[str, Tensor]]:
        """Give name and RGB picture, uint8 ``[3, H, W]``, of a batch and what evaluation handed over for it."""
        ...


@runtime_checkable
class NamesClasses(Protocol):
    """A task that tells classes apart."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes, by index."""
        ...


@runtime_checkable
class MeasuresCells(Protocol):
    """A task that gives a value for each cell of an image."""

    def cell_size(self, image: Tensor, output: Tensor) -> int:
        """Give the side in pixels of the cells of an output ``[N, 1, h, w]`` for images ``[N, C, H, W]``."""
        ...


@runtime_checkable
class ReportsScores(Protocol):
    """A task that scores images by a protocol."""

    @property
    def score_names(self) -> Sequence[str]:
        """Names of an image's scores."""
        ...

    def summarise(self, stage: Literal["val", "test"]) -> str:
        """Say how the evaluation that has just ended went, and how scores were taken."""
        ...


class BatchScores(Protocol):
    """Scores of a batch, for each image its samples."""

    @property
    def restored(self) -> list[list[Score]]:
        """Of what the network made of the images."""
        ...

    @property
    def degraded(self) -> list[list[Score]]:
        """Of the images as they came."""
        ...


@runtime_checkable
class ScoredImages(Protocol):
    """What the ``test_step`` of a task that scores images hands over."""

    @property
    def prediction(self) -> Tensor:
        """Restored images, ``[N, C, H, W]`` in [0, 1]."""
        ...

    @property
    def scores(self) -> BatchScores:
        """Their scores."""
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A loader that leaves samples out of its batches which cannot be read."""

    on_failure: Callable[[Failure], None]
    """What is done with each of them; where it is deleted, an error is raised."""


def ask(callback: Callback, thing: object, contract: type[T], role: str = "a task") -> T:
    """Take a task, or a part of it, for what a callback needs.

    Args:
        callback: Who needs it.
        thing: The task or the part.
        contract: What is needed.
        role: What ``thing`` is, for the message.

    Returns:
        ``thing``.

    Raises:
        UsageError: If it lacks something; names the callback, the class of ``thing`` and what is missing.
    """
    if fulfils(thing, contract):
        return thing
    missing = " and ".join(find_missing(thing, contract))
    raise UsageError(f"{type(callback).__name__} needs {role} with {missing}, which {type(thing).__name__} has not")
