"""Trains and tests experiments with several seeds, interleaved, and prints mean and standard deviation of a metric.

``python -m benchmarks.compare configs/digits/lenet.yaml configs/digits/lenet_acda.yaml --metric test/top1_error``
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import records
from benchmarks.machine import ROOT


def run(config: str, seed: int, folder: Path, arguments: Sequence[str]) -> tuple[dict[str, str], float]:
    """Fit an experiment, then test its best checkpoint, through the command line.

    Args:
        config: The experiment's YAML file.
        seed: For ``seed_everything``.
        folder: Where the run goes.
        arguments: Further arguments for both.

    Returns:
        Test metrics by name, and the seconds that fit took, the start of the process included.

    Raises:
        SystemExit: If a command fails; its output is printed.
    """
    common = ["--config", config, f"--trainer.default_root_dir={folder}", f"--seed_everything={seed}", *arguments]
    started = time.perf_counter()
    for subcommand in (["fit", *common], ["test", *common, "--ckpt_path=best"]):
        done = subprocess.run([sys.executable, "cli.py", *subcommand], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(subcommand)}\n{done.stdout}\n{done.stderr}")
        if subcommand[0] == "fit":
            seconds = time.perf_counter() - started
    newest = max(folder.glob("version_*"), key=lambda path: path.stat().st_mtime)
    with (newest / "test" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1], seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison and write its table.

    Args:
        arguments: Command line, by default the process's.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", help="experiments to compare")
    parser.add_argument("--metric", action="append", required=True, help="test metric; may be given several times")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0 to SEEDS − 1 for each experiment (default 3)")
    parser.add_argument("--keep", type=Path, help="folder for the runs; by default they are deleted")
    parser.add_argument("--csv", type=Path, help="also write a row for each run here")
    options, further = parser.parse_known_args(arguments)
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            for number, config in enumerate(options.configs):
                metrics, seconds = run(config, seed, (options.keep or Path(folder)) / f"{number}_{seed}", further)
                row = {"config": config, "seed": str(seed), **{m: metrics[m] for m in options.metric}}
                rows.append({**row, "fit_seconds": f"{seconds:.1f}"})
                print(*row.values(), f"{seconds:.1f} s", flush=True)
    print()
    for metric in options.metric:
        for config in options.configs:
            values = [float(row[metric]) for row in rows if row["config"] == config]
            deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
            print(f"{metric}  {config}: {statistics.mean(values):.6g} ± {deviation:.2g} ({len(values)} seeds)")
    if options.csv is not None:
        records.write(options.csv, rows)


if __name__ == "__main__":
    main()
