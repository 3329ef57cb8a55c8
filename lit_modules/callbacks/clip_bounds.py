"""Clips the gradients of the two networks in variational denoising, each to a bound of its own."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from lit_modules.callbacks.contracts import HasNetwork, HasTwoNetworks, ask
from lit_modules.errors import UsageError


class ClipBounds(Callback):
    """Clip the norm of each network's gradients; after an epoch its bound is at most the mean of that epoch's norms.

    Norms are taken before clipping, of the gradients that all processes share, without the scale of mixed precision;
    steps that it skips because a gradient is not finite do not count. Logs the mean, ``train/grad_norm_<network>``, and
    the new bound, ``train/clip_bound_<network>``, after each epoch. Checkpoints hold the bounds, and the norms of an
    epoch that is not over. Needs a task whose ``network`` has the two networks under the names of the arguments, as
    :class:`lit_modules.VariationalTask`, in whose configurations it stands among ``trainer.callbacks``.

    Args:
        denoiser: Bound in the first epoch.
        noise_estimator: Likewise.

    Raises:
        ValueError: If a bound is not positive.

    Reference:
        Yue, Yong, Zhao, Zhang, Meng, *Variational Denoising Network: Toward Blind Noise Modeling and Removal*, NeurIPS
        2019; the rule is that of the authors' code.
    """

    def __init__(self, denoiser: float = 1e4, noise_estimator: float = 1e3) -> None:
        self.bounds = {"denoiser": denoiser, "noise_estimator": noise_estimator}
        for name, bound in self.bounds.items():
            if bound <= 0:
                raise ValueError(f"{name} must be positive, got {bound}")
        self._epoch = 0
        self._start_over()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make sure that gradients can be seen as they are.

        Raises:
            UsageError: If the optimizer takes them scaled.
        """
        scaled = any(getattr(optimizer, "_step_supports_amp_scaling", False) for optimizer in trainer.optimizers)
        if scaled and trainer.precision == "16-mixed":
            raise UsageError(
                "a fused optimizer hides the norms of gradients under --trainer.precision=16-mixed: set its fused to "
                "false, or use bf16-mixed"
            )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Clip, and note the norms."""
        networks = ask(self, ask(self, pl_module, HasNetwork).network, HasTwoNetworks, "a network")
        if trainer.current_epoch != self._epoch:
            self._tighten()  # where training goes on from a checkpoint written just before the end of its epoch
            self._epoch = trainer.current_epoch
        for name, bound in self.bounds.items():
            network = networks.denoiser if name == "denoiser" else networks.noise_estimator
            norm = clip_grad_norm_(network.parameters(), bound).double()
            noted = torch.stack([norm, torch.ones_like(norm)])
            self._noted[name] = self._noted[name].to(norm.device) + torch.where(norm.isfinite(), noted, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lower the bounds."""
        for name, mean in self._tighten().items():
            # All processes have the same number: the largest is it, to the last digit.
            for key, value in (("grad_norm", mean), ("clip_bound", self.bounds[name])):
                pl_module.log(f"train/{key}_{name}", value, reduce_fx="max", sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Give what a checkpoint holds."""
        noted = {name: values.tolist() for name, values in self._noted.items()}
        return {"bounds": dict(self.bounds), "noted": noted, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.bounds = dict(state_dict["bounds"])
        self._noted = {name: torch.tensor(v, dtype=torch.float64) for name, v in state_dict["noted"].items()}
        self._epoch = state_dict["epoch"]

    def _tighten(self) -> dict[str, float]:
        """Lower the bounds to the means of the norms noted, give these, and start over."""
        totals = {name: values.tolist() for name, values in self._noted.items()}
        means = {name: total / steps for name, (total, steps) in totals.items() if steps}
        self.bounds = {name: min(bound, means.get(name, bound)) for name, bound in self.bounds.items()}
        self._start_over()
        return means

    def _start_over(self) -> None:
        """Forget the norms: their sum and their number, for each network."""
        self._noted = {name: torch.zeros(2, dtype=torch.float64) for name in self.bounds}
