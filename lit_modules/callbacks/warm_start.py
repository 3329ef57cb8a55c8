"""Starts training from the weights of an earlier one."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from acda.models import load_weights
from lit_modules.callbacks.contracts import HasNetwork, ask
from lit_modules.errors import UsageError


class WarmStart(Callback):
    """Before ``fit``, load what fits of a file's weights into the task's network, and print what did and what did not.

    The command line puts it before all other callbacks, which may copy the network, and leaves it out where a run is
    resumed.

    Args:
        weights: A checkpoint of any of these trainings, a state dict such as torchvision's, or ``pretrained:NAME``;
            see :func:`acda.models.load_weights`.

    Raises:
        UsageError: When ``fit`` starts, if the file is missing, damaged, or fits nothing.
    """

    def __init__(self, weights: str) -> None:
        self.weights = weights

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load them."""
        if stage != "fit":
            return
        network = ask(self, pl_module, HasNetwork).network
        try:
            report = load_weights(network, self.weights)
        except ValueError as error:
            raise UsageError(str(error)) from error
        rank_zero_info(str(report))
