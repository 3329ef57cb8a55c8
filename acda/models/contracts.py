"""What tasks and tools ask of a network beyond an output for an image: attributes that it states, and one way to ask.

A network of one's own states what applies to it, as attributes, class attributes or properties; none is mandatory.
"""

from collections.abc import Sequence
from typing import Protocol, TypeGuard, TypeVar, runtime_checkable

from torch import Tensor

T = TypeVar("T")


@runtime_checkable
class HasOutputStride(Protocol):
    """A network that says how far apart the values of its output are."""

    @property
    def output_stride(self) -> int:
        """Pixels of the image between neighbours in the output."""
        ...


@runtime_checkable
class HasTotalStride(Protocol):
    """A network that says on which grid its features lie."""

    @property
    def total_stride(self) -> int:
        """Pixels by which an image may be moved so that its features move by whole pixels."""
        ...


@runtime_checkable
class Tileable(HasOutputStride, HasTotalStride, Protocol):
    """A network that can be applied to an image part by part."""


@runtime_checkable
class Backbone(Protocol):
    """A network that gives a feature map ``[N, feature_channels, H / feature_stride, W / feature_stride]``."""

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map."""
        ...

    @property
    def feature_stride(self) -> int:
        """Pixels of the image between neighbours in the feature map."""
        ...


@runtime_checkable
class HasLevels(Protocol):
    """A network that works on the bands of a Laplacian pyramid."""

    def levels(self, image: Tensor) -> Sequence[Tensor]:
        """Make of each band of images ``[N, C, H, W]`` what becomes of it, the finest first."""
        ...


@runtime_checkable
class HasImageSize(Protocol):
    """A network that takes images of one size alone."""

    @property
    def image_size(self) -> int:
        """Side of the (square) image in pixels."""
        ...


def find_missing(thing: object, contract: type) -> list[str]:
    """List what a protocol asks for and an object has not, or has as None.

    ``isinstance`` does not do: from Python 3.12 on it sees neither a module's submodules nor what a module that wraps
    another one passes on.

    Args:
        thing: A network, or a task.
        contract: The protocol; all its members have public names.

    Returns:
        Names of members.
    """
    return [name for name in dir(contract) if not name.startswith("_") and getattr(thing, name, None) is None]


def fulfils(thing: object, contract: type[T]) -> TypeGuard[T]:
    """Whether an object has all that a protocol asks for, see :func:`find_missing`."""
    return not find_missing(thing, contract)


def output_stride(network: object, default: int = 1) -> int:
    """Ask a network for its ``output_stride``.

    Args:
        network: The network.
        default: What holds for one that does not state it.

    Returns:
        Pixels of the image between neighbours in the output.
    """
    return network.output_stride if fulfils(network, HasOutputStride) else default


def total_stride(network: object) -> int:
    """Ask a network for its ``total_stride``.

    Args:
        network: The network.

    Returns:
        Pixels by which an image may be moved so that its features move by whole pixels: for a backbone that does not
        state it its ``feature_stride``, for others 1.
    """
    if fulfils(network, HasTotalStride):
        return network.total_stride
    return network.feature_stride if fulfils(network, Backbone) else 1


def image_size(network: object) -> int | None:
    """Ask a network for its ``image_size``.

    Args:
        network: The network.

    Returns:
        Side in pixels of the images that it takes; None: it does not state one.
    """
    return network.image_size if fulfils(network, HasImageSize) else None
