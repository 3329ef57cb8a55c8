"""Lightning's trainer, with one folder for everything that comes out of a run."""

from lightning.pytorch import Trainer


class RunTrainer(Trainer):
    """Settings of the training loop and the machine it runs on: Lightning's ``Trainer``."""

    @property
    def log_dir(self) -> str | None:
        """The run folder, chosen by rank 0, whichever loggers are used. All ranks must ask for it together."""
        return self.strategy.broadcast(self.default_root_dir)
