"""Variational denoising."""

from typing import Literal

import torch
from lightning.pytorch import Callback
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from acda.models import VariationalDenoiser
from lit_modules.callbacks import ClipBounds
from lit_modules.losses import VariationalLoss
from lit_modules.metrics import ProtocolName, SsimForm
from lit_modules.output.pictures import heat
from lit_modules.tasks.base import StepOutput
from lit_modules.tasks.restoration import RestorationTask


class VariationalTask(RestorationTask):
    """Trains a denoiser together with a network that estimates the noise's variance at each pixel.

    Training minimises the negative evidence lower bound, logged as ``train/loss``, and its terms ``train/lh``,
    ``train/kl_z`` and ``train/kl_sigma``; the gradients of the two networks are clipped each to a bound of its own, see
    :class:`lit_modules.callbacks.ClipBounds`. Evaluation takes the restored images alone, as
    :class:`RestorationTask` does: ``{val,test}/loss`` is their mean squared error.

    Args:
        network: The two networks; gives y − r for noisy images y.
        channels: What the network sees of RGB images; ``y``: Y of YCbCr over 255.
        loss: Compares the posteriors with the images; None: that of the paper.
        protocol: How images are scored, see :func:`lit_modules.metrics.named_protocol`.
        shave: Pixels along each border that are not scored.
        ssim: Form of SSIM: ``per_channel`` or ``matlab3d``.
        tile: Evaluate images in parts of this side in pixels, see :class:`RestorationTask`. Default: whole.
        self_ensemble: In evaluation take the mean of what the network makes of the eight turns and flips of an image.
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer; None keeps the rate constant.
        lr_scheduler_interval: Whether the schedule counts epochs or steps.
        compile_network: Compile both networks in place.
        decay_norms_and_biases: Whether weight decay acts on parameters of one dimension too.

    Raises:
        ValueError: As :class:`RestorationTask`.

    Reference:
        Yue, Yong, Zhao, Zhang, Meng, *Variational Denoising Network: Toward Blind Noise Modeling and Removal*, NeurIPS
        2019; paper section 4.3, Table 5.
    """

    network: VariationalDenoiser

    def __init__(
        self,
        network: VariationalDenoiser,
        channels: Literal["rgb", "y"] = "rgb",
        loss: VariationalLoss | None = None,
        protocol: ProtocolName = "sidd",
        shave: int = 0,
        ssim: SsimForm = "per_channel",
        tile: int | None = None,
        self_ensemble: bool = False,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: Literal["epoch", "step"] = "epoch",
        compile_network: bool = False,
        decay_norms_and_biases: bool = True,
    ) -> None:
        super().__init__(
            network,
            channels,
            protocol=protocol,
            shave=shave,
            ssim=ssim,
            tile=tile,
            self_ensemble=self_ensemble,
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            lr_scheduler_interval=lr_scheduler_interval,
            decay_norms_and_biases=decay_norms_and_biases,
        )
        self.variational_loss = VariationalLoss() if loss is None else loss
        if compile_network:
            # Not the whole: training takes more of it than what a call gives.
            network.denoiser.compile()
            network.noise_estimator.compile()

    def default_callbacks(self) -> list[Callback]:
        """Clip gradients too."""
        return [*super().default_callbacks(), ClipBounds()]

    def trained(self, image: Tensor, target: Tensor) -> StepOutput:
        """Loss of the posteriors; logs its terms."""
        posterior = self.network.posterior(image)
        loss, *terms = self.variational_loss(*posterior, image, target)
        names = ("train/lh", "train/kl_z", "train/kl_sigma")
        self.log_dict(dict(zip(names, terms, strict=True)), batch_size=len(image))
        return StepOutput(loss, (image - posterior.residual).detach())

    @torch.no_grad()
    def maps(self, image: Tensor, restored: Tensor, target: Tensor) -> list[tuple[str, Tensor]]:
        """The error, and the noise's standard deviation: as it is around each pixel, and as it is estimated."""
        noisy, clean = self.seen(image[None]), self.seen(target[None])
        _, _, log_alpha, log_beta = self.network.posterior(noisy)
        alpha = log_alpha.float().exp()
        # The mean of the inverse gamma distribution, which is infinite for a small α.
        estimated = torch.where(alpha > 1, log_beta.float().exp() / (alpha - 1), torch.inf)
        measured = self.variational_loss.local_variance(noisy - clean)
        deviations = [variance[0].mean(dim=0).sqrt() for variance in (measured, estimated)]
        top = float(deviations[0].max())
        titles = (f"noise sigma, 0 to {top:.3f}", "estimated")
        noise = [(title, heat(deviation, 0, top)) for title, deviation in zip(titles, deviations, strict=True)]
        return [*super().maps(image, restored, target), *noise]
