"""What all tasks share: optimizer, compilation, the step loop, default callbacks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch import Tensor, nn

from acda.ops.layout import lay_out_weights
from lit_modules.callbacks.coefficient_maps import CoefficientMaps
from lit_modules.callbacks.cost_summary import CostSummary
from lit_modules.callbacks.failed_inputs import FailedInputs
from lit_modules.callbacks.picture_logger import PictureLogger
from lit_modules.errors import TrainingError, UsageError
from lit_modules.lightning_private import is_configured
from lit_modules.metrics.sample_mean import SampleMean
from lit_modules.random_state import capture_torch_state
from lit_modules.tasks.finiteness import FinitenessCheck, TrainingStep, is_asked_late
from lit_modules.tasks.non_finite import explain_loss, explain_weights

Stage = Literal["train", "val", "test"]


@dataclass(frozen=True)
class StepOutput:
    """What one step of a task gives; a task whose callbacks need more of it gives a subclass.

    Attributes:
        loss: Scalar.
        prediction: What the network says of the batch, for callbacks.
    """

    loss: Tensor
    prediction: Tensor


class Task(LightningModule, ABC):
    """Base of all tasks: a network, how to optimise it, and one step for all stages.

    A subclass writes :meth:`step`. Its ``__init__`` has arguments of its own, by keyword, and hands all others to
    ``super().__init__(network, **kwargs)``: the command line finds them there, with their types and help.

    In ``validation_step`` and ``test_step`` callbacks get, as ``outputs``, the prediction of the :class:`StepOutput`
    that :meth:`step` gave; of a subclass of it, which has more to tell, they get the whole. ``pictures`` gets the same.

    Training ends with a :class:`lit_modules.errors.TrainingError` at the first loss that is not finite, on an
    accelerator one step later, and no checkpoint gets weights that are not. The network's weights lie channels last in
    memory, so that all between its convolutions does and nothing is copied there. Compiling, by ``torch.compile``,
    leaves its state dict as it is.

    Args:
        network: What is trained.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer; None keeps the rate constant.
        lr_scheduler_interval: Whether the schedule counts epochs or steps.
        compile_network: Compile the network in place.
        decay_norms_and_biases: Whether weight decay acts on parameters of one dimension too.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Literal["epoch", "step"] = "epoch",
        compile_network: bool = False,
        decay_norms_and_biases: bool = True,
    ) -> None:
        super().__init__()
        # From the command line the hyper-parameters are its configuration, plain YAML values that a checkpoint can
        # hold. Built in Python they are objects: a checkpoint then holds the weights alone.
        if is_configured():
            self.save_hyperparameters()
        self.network = network
        lay_out_weights(network)
        self.make_optimizer = optimizer
        self.make_lr_scheduler = lr_scheduler
        self.lr_scheduler_interval = lr_scheduler_interval
        self.decay_norms_and_biases = decay_norms_and_biases
        self.asks_at_once = False
        self._finiteness = FinitenessCheck(self._end_training)
        self.val_loss, self.test_loss = SampleMean(), SampleMean()
        if compile_network:
            self.network.compile()

    @abstractmethod
    def step(self, batch: Any, stage: Stage) -> StepOutput:
        """Run the network on a batch, log its metrics under ``<stage>/``, and give loss and prediction."""

    def pictures(self, batch: Any, output: Any) -> Iterable[tuple[str, Tensor]]:
        """Draw what is worth a look in a batch that was evaluated, the first ones first.

        Args:
            batch: The batch.
            output: What :meth:`step` gave for it, as callbacks get it.

        Returns:
            Name and RGB picture, uint8 ``[3, H, W]``; none by default.
        """
        return ()

    def network_input(self, batch: Any) -> Tensor:
        """Give what of a batch callbacks may show the network: its images."""
        image: Tensor = batch.image
        return image

    def default_callbacks(self) -> list[Callback]:
        """Make the callbacks that belong to the task; one of the same class in the trainer's list takes its place."""
        return [CostSummary(), CoefficientMaps(), PictureLogger(), FailedInputs()]

    def configure_callbacks(self) -> list[Callback]:
        """Add the default callbacks that the user has not set."""
        given = self.given_callbacks()
        return [callback for callback in self.default_callbacks() if type(callback) not in given]

    def given_callbacks(self) -> set[type[Callback]]:
        """List the classes of the trainer's callbacks."""
        return {type(callback) for callback in self.trainer.callbacks}  # type: ignore[attr-defined]

    def forward(self, image: Tensor) -> Tensor:
        """Run the network."""
        prediction: Tensor = self.network(image)
        return prediction

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Train on a batch; logs ``train/loss``.

        No step waits for an accelerator: whether its loss is finite is asked at the next one, or at once of the last
        one of an epoch.

        Raises:
            TrainingError: If it is not, in any process.
        """
        drawn = capture_torch_state(self.device)
        loss = self._step(batch, "train").loss
        taken = TrainingStep(batch, batch_idx, loss.detach(), drawn, self.trainer.global_step, self.current_epoch)
        late = is_asked_late(self.device) and not self.asks_at_once and not self.trainer.is_last_batch
        self._finiteness.ask(taken, late)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.id))
        return loss

    def _end_training(self, taken: TrainingStep, over: bool) -> None:
        again = None if over else lambda: self.step(taken.batch, "train").loss
        raise TrainingError(explain_loss(self, taken, again))

    def on_train_end(self) -> None:
        """Make sure that the last loss was finite.

        Raises:
            TrainingError: If it was not.
        """
        self._finiteness.finish()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make sure that loss and weights are finite, whose next loss would come too late.

        Raises:
            TrainingError: If one is not.
        """
        self._finiteness.finish()
        message = explain_weights(self)
        if message is not None:
            raise TrainingError(message)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """Validate on a batch; gives the prediction to callbacks, or more, see the class."""
        return self._evaluate(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        """Test on a batch; gives the prediction to callbacks, or more, see the class."""
        return self._evaluate(batch, "test")

    def _step(self, batch: Any, stage: Stage) -> StepOutput:
        output = self.step(batch, stage)
        if output.loss.dim():
            raise UsageError(f"loss must give one number, got {list(output.loss.shape)}: set its reduction to mean")
        return output

    def _evaluate(self, batch: Any, stage: Literal["val", "test"]) -> Tensor | StepOutput:
        output = self._step(batch, stage)
        loss: SampleMean = getattr(self, f"{stage}_loss")
        loss.update(output.loss, len(batch.id))
        self.log(f"{stage}/loss", loss, on_step=False, on_epoch=True)
        return output.prediction if type(output) is StepOutput else output

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimizer and, if there is one, the schedule; ``ReduceLROnPlateau`` of PyTorch follows ``val/loss``.

        Raises:
            UsageError: If that one is to wait for a metric to rise.
        """
        optimizer = self.make_optimizer(self.parameters() if self.decay_norms_and_biases else self._group_parameters())
        if self.make_lr_scheduler is None:
            return optimizer
        scheduler = self.make_lr_scheduler(optimizer)
        config: LRSchedulerConfigType = {"scheduler": scheduler, "interval": self.lr_scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            config["monitor"] = scheduler.monitor
        elif isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            if scheduler.mode != "min":
                raise UsageError(
                    f"lr_scheduler ReduceLROnPlateau must have mode min, got {scheduler.mode}: it follows val/loss. "
                    "For another metric take lightning.pytorch.cli.ReduceLROnPlateau, which has the argument monitor"
                )
            config["monitor"] = "val/loss"
        return {"optimizer": optimizer, "lr_scheduler": config}

    def _group_parameters(self) -> list[dict[str, Any]]:
        """Part parameters into those that weight decay acts on, and those of one dimension, which it leaves alone."""
        decayed = [parameter for parameter in self.parameters() if parameter.dim() > 1]
        others = [parameter for parameter in self.parameters() if parameter.dim() <= 1]
        return [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
