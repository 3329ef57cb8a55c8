"""Run folders: ``<trainer.default_root_dir>/version_N`` for each training, with what came out of it.

.. code-block:: text

    runs/digits/lenet_acda/     the experiment: trainer.default_root_dir
        version_0/              a run (under SLURM: job_<SLURM_JOB_ID>)
            config_fit.yaml, metrics.csv, events.out.tfevents.*
            checkpoints/        last.ckpt and the best ones
            test/               config_test.yaml, metrics.csv, predictions
        version_1/

Only the process of rank 0 creates a folder. Others may come to another name when all start at once; it is not used,
because ``trainer.log_dir`` is the one of rank 0 everywhere.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout  # torch brings it
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from acda.models.weight_files import SUFFIX
from lit_modules.errors import UsageError
from lit_modules.output.whole_file import whole_file
from lit_modules.runs.migration import migrate
from lit_modules.runs.yaml_text import load_yaml

CONFIG = "config_fit.yaml"


def claim_run(root: Path, create: bool = True) -> Path:
    """Name the next free ``version_N`` and make it.

    Args:
        root: The experiment's folder.
        create: Whether to create the folder at all (on rank 0).

    Returns:
        The folder of the run.
    """
    numbers = [int(path.name.removeprefix("version_")) for path in root.glob("version_*") if path.name[8:].isdigit()]
    number = max(numbers, default=-1) + 1
    while not _claim(root / f"version_{number}", create):
        number += 1
    return root / f"version_{number}"


def claim_job_run(root: Path, job_id: int, config: str) -> Path:
    """Find the run folder of a SLURM job: the same one for a requeued job, another for another training in one job.

    Args:
        root: The experiment's folder.
        job_id: SLURM's job id, which a requeued job keeps.
        config: The configuration as YAML; a folder belongs to a run with the same one, but for ``ckpt_path``.

    Returns:
        ``job_<id>``, or ``job_<id>_1`` and so on for further trainings.
    """
    run, number = root / f"job_{job_id}", 0
    while not _claim(run, create=True) and not _same_config(run / CONFIG, config):
        number += 1
        run = root / f"job_{job_id}_{number}"
    if get_rank() == 0 and not (run / CONFIG).exists():
        with whole_file(run / CONFIG) as unfinished:  # at once: a second training in this job looks at it
            unfinished.write_text(config)
    return run


def claim_results_folder(run: Path, name: str, create: bool = True) -> Path:
    """Name the folder for the results of an evaluation: ``<run>/test``, or ``test_1`` if that has files already.

    Args:
        run: The run whose checkpoint is evaluated.
        name: The subcommand.
        create: Whether to create the folder at all (on rank 0).

    Returns:
        An empty folder, or one that does not exist yet.
    """
    folder, number = run / name, 0
    while not _claim(folder, create) and any(folder.iterdir()):
        number += 1
        folder = run / f"{name}_{number}"
    return folder


@contextmanager
def lock(run: Path) -> Iterator[None]:
    """Keep a second training out of a run folder, on rank 0; the lock goes with the process, however that ends.

    Args:
        run: The folder.

    Raises:
        UsageError: If another process trains there.
    """
    lock = FileLock(run / ".lock", timeout=0)
    try:
        if get_rank() == 0:
            lock.acquire()
    except Timeout:
        message = f"{run} is in use by another training: wait for its end, or start without --ckpt_path"
        raise UsageError(message) from None
    except NotImplementedError:
        rank_zero_warn(f"The file system of {run} has no locks: make sure that no second training goes on there")
    try:
        yield
    finally:
        lock.release()


def find_home(checkpoint: Path, root: Path) -> Path | None:
    """Find the folder for what is done with a checkpoint.

    Args:
        checkpoint: The file.
        root: The experiment's folder.

    Returns:
        The run that it lies in; for weights that are of no run ``<root>/pretrained/<name>``; None if there is neither.
    """
    return root / "pretrained" / checkpoint.stem if checkpoint.suffix == SUFFIX else find_run_of(checkpoint)


def find_run_of(checkpoint: Path) -> Path | None:
    """Find the run folder that a checkpoint lies in, if any and if results can be written there."""
    folder = _named(checkpoint.parent)
    folder = folder.parent if folder.name == "checkpoints" else folder
    return folder if (folder / CONFIG).exists() and os.access(folder, os.W_OK) else None


def find_experiment(run: Path) -> Path:
    """Find the folder to compare a run with others in: the experiment's, or the run's own if it was moved out of it."""
    run = _named(run)
    return run.parent if re.match(r"(version|job)_\d", run.name) else run


def list_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of a run, newest first; those meant to resume from before others."""
    resume = set(run.glob("checkpoints/last*.ckpt"))
    others = set(run.glob("checkpoints/*.ckpt")) - resume
    return [*sorted(resume, key=_age), *sorted(others, key=_age)]


def find_newest_run(folder: Path) -> Path | None:
    """Find the run in which a checkpoint was written last.

    Args:
        folder: An experiment's folder, or a run.

    Returns:
        The run, or None if there is no checkpoint.
    """
    runs = [run for run in (folder, *folder.glob("*/")) if list_checkpoints(run)]
    return min(runs, key=lambda run: min(map(_age, list_checkpoints(run))), default=None)


def _claim(folder: Path, create: bool) -> bool:
    """Create a folder, unless it exists; only rank 0 does, so that no rank sees its own work as another's."""
    if not create or get_rank() > 0:
        return not folder.exists()
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except FileNotFoundError as error:  # of what is no real file system, such as /proc
        raise UsageError(f"trainer.default_root_dir: '{folder}' cannot be made: {error.strerror}") from error
    return True


def _named(folder: Path) -> Path:
    """Give a folder's own name, where it is only told as where we are or what is above."""
    return folder if folder.name.strip(".") else folder.resolve()


def _same_config(path: Path, config: str) -> bool:
    if not path.exists():
        return True
    old, new = migrate(load_yaml(path.read_text())), load_yaml(config)
    return bool({**old, "ckpt_path": None} == {**new, "ckpt_path": None})


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def get_rank() -> int:
    """Give the process' number among all of a run, as far as it is known before they are joined."""
    return getattr(rank_zero_only, "rank", 0)
