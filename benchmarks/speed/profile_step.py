"""Where the time of a network's training step goes: operators by the time that they take themselves.

``python -m benchmarks.speed.profile_step --csv benchmarks/results/profile.csv``
``python -m benchmarks.speed.profile_step --device cuda --dtype bfloat16 --batch 256 --size 224``
"""

from collections.abc import Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import records
from benchmarks.speed.network import NETWORKS, Setup, optimizer_of

_CONVOLUTIONS = ("plain", "acda")
_HEADINGS = {
    "convolution": "convolution",
    "operator": "operator",
    "share": "share of the step",
    "ms": "ms a step",
    "calls": "calls a step",
}


def profile_operators(setup: Setup, convolution: str, steps: int, shown: int) -> list[records.Row]:
    """Profile a network's training step.

    Args:
        setup: The network and the size of its step.
        convolution: Which one it is built with.
        steps: How many are profiled, after two that warm up.
        shown: Rows, the longest times first.

    Returns:
        A row for each operator (on a GPU: kernel) with its time and its share of all.
    """
    network = setup.build(convolution)
    step = setup.step(network, optimizer_of(network))
    for _ in range(2):
        step()
    on_gpu = setup.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            step()
        if on_gpu:
            torch.cuda.synchronize()
    events = profiler.key_averages()
    if on_gpu:
        events = [event for event in events if event.device_type.name == "CUDA"]
    times = {event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total) for event in events}
    calls = {event.key: event.count for event in events}
    total = sum(times.values())
    hottest = sorted(times, key=lambda key: -times[key])[:shown]
    return [
        {
            "network": setup.network,
            "convolution": convolution,
            "batch": setup.batch,
            "size": setup.size,
            "operator": key[:100],
            "share": times[key] / total,
            "ms": times[key] / 1e3 / steps,
            "calls": calls[key] / steps,
        }
        for key in hottest
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile, print the table and write the rows.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = records.parser("speed.profile_step", __doc__)
    parser.add_argument("--network", choices=tuple(NETWORKS), default="ad_resnet_s", help="default: ad_resnet_s")
    parser.add_argument("--batch", type=int, default=8, help="images in a step (default 8)")
    parser.add_argument("--size", type=int, default=128, help="side of an image in pixels (default 128)")
    parser.add_argument("--shown", type=int, default=12, help="operators shown of each network (default 12)")
    options = records.parse(parser, arguments)
    setup = Setup(options.network, options.batch, options.size, options.dtype, options.device.type)
    rows: list[records.Row] = []
    for convolution in _CONVOLUTIONS:
        rows += profile_operators(setup, convolution, options.rounds, options.shown)
    print(records.table(rows, _HEADINGS, digits=3))
    if options.csv is not None:
        records.write(options.csv, [{**records.setting(options), **row} for row in rows])


if __name__ == "__main__":
    main()
