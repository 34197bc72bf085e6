"""Does the server's memory stay what it was over a million requests? Printed as a Markdown table.

    python benchmarks/serve_memory.py                   # some minutes; in a workbook with a champion (model-ops run)
    python benchmarks/serve_memory.py --requests 100000

The server runs with everything on: contract, durable log, live drift, and the settling of the log beside it. `wrk` asks by 64 connections,
one row a request. After each tenth the resident memory of each process is read. The log's table grows on the disk, as it should; memory should not.
The first tenth fills buffers and caches; what counts is the growth after it.
"""
import argparse
import os
import platform
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
from serve_speed import SCRIPT, ours, prepared, wrk

PARTS = {"supervisor": "serve.supervisor", "worker": "serve.worker", "settler": "predictions.settle"}


def resident(parent: psutil.Process) -> dict[str, float]:
    "MB by what the process does."
    found = dict.fromkeys(PARTS, 0.0)
    for one in (parent, *parent.children(recursive=True)):
        line = " ".join(one.cmdline())
        if part := next((name for name, module in PARTS.items() if module in line), None): found[part] += one.memory_info().rss / 1e6
    return found


def answered(url: str) -> float:
    "Requests that the server has counted."
    text = urllib.request.urlopen(f"{url}/metrics", timeout=30).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(r"model_ops_requests_total\{", line))


def size_mb(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--requests", type=int, default=1_000_000)
    words.add_argument("--connections", type=int, default=64)
    told = words.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="model-ops-serve-") as name:
        settings, _, load = prepared(Path(name))
        (script := Path(name) / "load.lua").write_text(SCRIPT)
        with ours(settings) as (url, _):
            server = psutil.Process(next(p.pid for p in psutil.Process().children(recursive=True) if "serve.supervisor" in " ".join(p.cmdline())))
            print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n| requests | a second | {' | '.join(f'{part} MB' for part in PARTS)} | log on disk MB |\n| ---: |{' ---: |' * (len(PARTS) + 2)}")
            done, step = 0.0, told.requests / 10
            while done < told.requests:
                target, begun, before = done + step, time.monotonic(), done
                while done < target:
                    wrk(f"{url}/invocations", load.bodies(1), told.connections, min(20, max(1, (target - done) / 8000)), script)
                    done = answered(url)
                used = resident(server)
                rows.append(used)
                print(f"| {done:,.0f} | {(done - before) / (time.monotonic() - begun):,.0f} | {' | '.join(f'{mb:.0f}' for mb in used.values())} | {size_mb(settings.root):.0f} |", flush=True)
    growth = {part: rows[-1][part] - rows[0][part] for part in PARTS}
    print("\nGrowth after the first tenth: " + ", ".join(f"{part} {mb:+.0f} MB" for part, mb in growth.items()) + ".")
    return 0


if __name__ == "__main__":
    sys.exit(main())
