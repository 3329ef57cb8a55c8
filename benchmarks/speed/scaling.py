"""The same training and evaluation by one process and by several, on the CPU, each with one thread.

``python -m benchmarks.speed.scaling --csv benchmarks/results/scaling.csv``

Several processes share each batch out by DistributedDataParallel over gloo, as ``--trainer.strategy=ddp`` has it. A
step is that of ``benchmarks.speed.network``, in float32; evaluation is the network's output for the whole batch.
Gradients of several processes are compared beforehand with the mean that one process takes over the same parts of the
batch, each with BatchNorm statistics of its own. Memory is the largest resident set that a process ever had, libraries
included.
"""

import multiprocessing
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from benchmarks import records
from benchmarks.speed import timing
from benchmarks.speed.forms import verdict
from benchmarks.speed.network import NETWORKS, NUM_CLASSES, Setup, optimizer_of

_CPU = torch.device("cpu")
_HEADINGS = {
    "processes": "processes",
    "step_speed_up": "step: times faster",
    "evaluation_speed_up": "evaluation: times faster",
    "steps_per_s": "steps/s",
    "step_ms": "step ms",
    "evaluation_ms": "evaluation ms",
    "process_mib": "peak MiB of a process",
    "status": "status",
}


def part_gradients(net: nn.Module, setup: Setup, parts: Sequence[int], of: int) -> Tensor:
    """Compute the gradients of the mean loss of some parts of a batch that depends on nothing.

    Args:
        net: The network; a distributed one takes the mean over all processes.
        setup: Says how large the whole batch is.
        parts: Which parts.
        of: Number of parts of the batch.

    Returns:
        All gradients in one row.
    """
    torch.manual_seed(0)
    images, labels = setup.images(), torch.randint(NUM_CLASSES, (setup.batch,))
    net.zero_grad()
    for part in parts:
        loss = F.cross_entropy(net(images[part::of]), labels[part::of]) / len(parts)
        torch.autograd.backward(loss)
    gradients = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    net.zero_grad()
    return gradients


def work(rank: int, processes: int, setup: Setup, convolution: str, store: str, orders: Connection) -> None:
    """Do in one process what it is told, until it is told None.

    Args:
        rank: Which process.
        processes: How many there are.
        setup: The network, and the batch of all of them together.
        convolution: The network's.
        store: A file by which they find each other.
        orders: Brings a name and arguments, and takes what comes of them.
    """
    torch.set_num_threads(1)
    network = setup.build(convolution)
    trained = network
    if processes > 1:
        distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=processes)
        trained = DistributedDataParallel(network)
    own = setup._replace(batch=setup.batch // processes)
    images = own.images()

    def gradients(of: int) -> Any:
        return part_gradients(trained, setup, range(of) if processes == 1 else [rank], of).numpy()

    def evaluate() -> None:
        network.eval()
        with torch.inference_mode():
            network(images)
        network.train()

    step = own.step(trained, optimizer_of(trained))
    does: dict[str, Callable[..., object]] = {
        "gradients": gradients,
        "step": step,
        "evaluation": evaluate,
        "peak": _peak_mib,
    }
    for name, *arguments in iter(orders.recv, None):
        orders.send(does[name](*arguments))
    if processes > 1:
        distributed.destroy_process_group()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def team(processes: int, setup: Setup, convolution: str) -> Iterator[Callable[..., list[Any]]]:
    """Start processes that wait for orders.

    Args:
        processes: How many.
        setup: The network, and the batch of all of them together.
        convolution: The network's.

    Yields:
        A function that gives all of them an order and returns, when all have done it, what came of it.
    """
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(processes)]
    with TemporaryDirectory() as folder:
        store = f"{folder}/store"
        members = [
            context.Process(target=work, args=(rank, processes, setup, convolution, store, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for member, (_, theirs) in zip(members, pipes, strict=True):
            member.start()
            theirs.close()

        def order(*what: object) -> list[Any]:
            for ours, _ in pipes:
                ours.send(what)
            return [ours.recv() for ours, _ in pipes]

        try:
            yield order
            for ours, _ in pipes:
                ours.send(None)
            for member in members:
                member.join()
        finally:
            for member in members:
                member.terminate()


def measure(setup: Setup, convolution: str, numbers: Sequence[int], rounds: int) -> list[records.Row]:
    """Check, then time the same batch with each number of processes, in turn.

    Args:
        setup: The network and the whole batch.
        convolution: The network's.
        numbers: Numbers of processes, 1 first.
        rounds: How often each is timed.

    Returns:
        A row for each number; one whose gradients are wrong has no time.
    """
    with ExitStack() as stack:
        teams = {number: stack.enter_context(team(number, setup, convolution)) for number in numbers}
        status = {number: _check(teams[1], teams[number], number, setup.dtype) for number in numbers}
        right = {str(number): order for number, order in teams.items() if status[number] == "ok"}
        kinds = ("step", "evaluation")
        runs = {kind: {name: partial(order, kind) for name, order in right.items()} for kind in kinds}
        times = timing.time_kinds(runs, rounds, _CPU)
        peaks = {number: max(order("peak")) for number, order in teams.items()}
    rows: list[records.Row] = []
    for number in numbers:
        row: records.Row = {"processes": number, "threads_each": 1, "status": status[number]}
        rows.append({**row, **times.get(str(number), {}), "process_mib": peaks[number]})
    for row in rows:
        for kind in kinds:
            row[f"{kind}_speed_up"] = records.ratio(rows[0], row, f"{kind}_ms")
        milliseconds = records.number(row, "step_ms")
        row["steps_per_s"] = None if milliseconds is None else 1e3 / milliseconds
    return rows


def _check(alone: Callable[..., list[Any]], order: Callable[..., list[Any]], number: int, dtype: torch.dtype) -> str:
    """Tell whether every process of a team has the gradients that one process sums up over the same parts."""
    true = torch.from_numpy(alone("gradients", number)[0])
    verdicts = [
        verdict({"all weights": torch.from_numpy(g)}, {"all weights": true}, dtype) for g in order("gradients", number)
    ]
    return next((text for text in verdicts if text != "ok"), "ok")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.plain_parser("speed.scaling", __doc__)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="ad_resnet_s", help="default: ad_resnet_s")
    parser.add_argument("--convolution", default="acda", help="the network's (default: acda)")
    parser.add_argument("--processes", nargs="+", type=int, default=[2], help="beside 1 (default: 2)")
    parser.add_argument("--batch", type=int, default=16, help="images in a step of all processes (default 16)")
    parser.add_argument("--size", type=int, default=128, help="side of an image in pixels (default 128)")
    parser.add_argument("--rounds", type=int, default=11, help="times each is timed (default 11)")
    parser.add_argument("--csv", type=Path, help="also write the rows here")
    options = parser.parse_args(arguments)
    if any(number < 2 or options.batch % number for number in options.processes):
        parser.error(f"--processes must be from 2 and divide --batch={options.batch}, got {options.processes}")
    if options.convolution not in NETWORKS[options.network]:
        choices = ", ".join(NETWORKS[options.network])
        parser.error(f"--convolution must be one of {choices} for {options.network}, got {options.convolution}")
    setup = Setup(options.network, options.batch, options.size, torch.float32, "cpu")
    rows = measure(setup, options.convolution, [1, *options.processes], options.rounds)
    chosen = {"device": "cpu", "dtype": "float32"} | {
        name: getattr(options, name) for name in ("rounds", "network", "convolution", "batch", "size")
    }
    print(records.table(rows, _HEADINGS))
    if options.csv is not None:
        records.write(options.csv, [{**chosen, **row} for row in rows])


if __name__ == "__main__":
    main()
