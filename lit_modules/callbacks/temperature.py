"""Lowers the temperature of dynamic convolutions while they train."""

from typing import Protocol, runtime_checkable

from lightning.pytorch import Callback, LightningModule, Trainer


@runtime_checkable
class Annealed(Protocol):
    """A layer with a temperature, such as :class:`acda.DynamicConv2d`."""

    def anneal_temperature(self, epoch: float) -> None:
        """Set the temperature for an epoch, counted from 0."""
        ...


class AnnealTemperature(Callback):
    """At the start of each training epoch, tell every layer that has a temperature which epoch it is.

    The layer knows its schedule, and keeps its temperature in the state dict: evaluation and prediction take what was
    saved. Without such layers the callback does nothing.

    Reference:
        Chen et al., *Dynamic Convolution: Attention over Convolution Kernels*, CVPR 2020.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the temperatures."""
        for module in pl_module.modules():
            if isinstance(module, Annealed):
                module.anneal_temperature(trainer.current_epoch)
