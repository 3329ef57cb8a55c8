"""Progress of what the user waits for."""

from collections.abc import Iterable
from typing import TypeVar

from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm  # type: ignore[import-untyped]

Thing = TypeVar("Thing")


def show_progress(things: Iterable[Thing], what: str, unit: str) -> Iterable[Thing]:
    """Show progress in the terminal, on one process only, if it takes more than a while.

    Args:
        things: What is gone through.
        what: What is being done, for the user.
        unit: What is counted, in the plural.

    Returns:
        The same things.
    """
    # None: not where stderr is no terminal either.
    quiet = True if rank_zero_only.rank else None  # type: ignore[attr-defined]
    bar: Iterable[Thing] = tqdm(things, what, unit=f" {unit}", delay=2, leave=False, disable=quiet)
    return bar
