"""Classification error in percent, the papers' figure."""

from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy


class ErrorRate(MulticlassAccuracy):
    """Share of samples, in percent, whose class is not among the ``top_k`` most probable.

    Args:
        num_classes: Number of classes.
        top_k: How many guesses count.
    """

    higher_is_better = False

    def __init__(self, num_classes: int, top_k: int = 1) -> None:
        super().__init__(num_classes, top_k=top_k, average="micro")

    def compute(self) -> Tensor:
        """100 · (1 − accuracy)."""
        return 100 * (1 - super().compute())
