"""What can be read in a picture."""

from torch import Tensor

CARD = 350
"""Width in pixels of a picture in TensorBoard beside others."""


def title_rows(picture: Tensor) -> slice:
    """Find the rows of the first line of text: from the first that is not white to the next that is."""
    inked = (picture < 255).any(0).any(1).tolist()
    top = inked.index(True)
    return slice(top, inked.index(False, top))


def title_on_card(picture: Tensor) -> float:
    """Measure how high that line is where the whole picture is as wide as a card, in pixels."""
    rows = title_rows(picture)
    return (rows.stop - rows.start) * CARD / picture.shape[2]
