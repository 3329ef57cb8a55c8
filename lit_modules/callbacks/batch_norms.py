"""Keeps batch norms as they will be in evaluation."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.modules.batchnorm import _BatchNorm


class FreezeBatchNorms(Callback):
    """Train with the running statistics of batch norms, which stay as they are, instead of those of each batch.

    So a network learns on what it will be evaluated with. It is for the end of a training, started by
    :class:`~lit_modules.callbacks.warm_start.WarmStart`, and for batches of few images, whose statistics vary. Scales
    and offsets of the norms are trained as before. Without batch norms the callback does nothing.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them into evaluation mode; after validation, Lightning gives every module the mode that it had."""
        for module in pl_module.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
