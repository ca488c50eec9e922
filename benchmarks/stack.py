"""``python -m benchmarks.stack PID``: what a running platform costs while nothing happens.

Give it the process id of ``make run`` (its data folder's ``up.lock`` holds it). It adds up processor time and memory of
that process and everything below it for a minute. Memory is the proportional set size, so that pages which processes
share are counted once.
"""

import argparse
import json
import time

import psutil


def family(pid: int) -> list[psutil.Process]:
    """The process and all its descendants."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Processor time that they have used."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pid", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    processes = family(options.pid)
    before = cpu_seconds(processes)
    time.sleep(options.seconds)
    used = cpu_seconds(processes) - before
    memory = {}
    for process in processes:
        try:
            name = " ".join(process.cmdline()[:4])[:60] or process.name()
            memory[name] = memory.get(name, 0) + process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    figures = {
        "cpu_percent_of_one_core": round(100 * used / options.seconds, 2),
        "memory_mb": round(sum(memory.values()) / 1e6),
        "processes": len(processes),
        "by_command_mb": {name: round(size / 1e6) for name, size in sorted(memory.items(), key=lambda item: -item[1])},
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
