"""What callbacks that write predictions have in common: a page that shows them."""

from typing import ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from lit_modules.output import NUM_SHOWN, PredictionPage


class PagedPredictions(Callback):
    """Base of callbacks that write what ``predict`` finds, and show it in ``index.html``.

    A subclass adds an entry for each input that :attr:`page` takes, and finishes the page when prediction ends.

    Args:
        num_shown: Inputs that the page shows, the first ones; 0: no page.

    Raises:
        ValueError: If ``num_shown`` is negative.
    """

    title: ClassVar[str]
    """What the page is about."""

    def __init__(self, num_shown: int = NUM_SHOWN) -> None:
        if num_shown < 0:
            raise ValueError(f"num_shown must be at least 0, got {num_shown}")
        self.num_shown = num_shown
        self._page: PredictionPage | None = None

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the page, while all processes are here."""
        self._page = PredictionPage(trainer, self.title, self.num_shown)

    @property
    def page(self) -> PredictionPage:
        """The page of the prediction that runs."""
        assert self._page is not None
        return self._page
