"""A year in production on all flights: how long it takes, and what the loop gained. python benchmarks/replay_flights.py [--folder F] [--sample N] [--again] [--sweep]

`model-ops replay` is run as a program of its own, in a new folder. Printed are the months, the gains, the time of each part and the
largest memory of the processes, as Markdown. With --again the replay is run twice, and the two conclusions must be the same.
With --sweep the gains are counted for other prices of a retraining, with the choices as they were made.
"""
import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model_ops.monitor.gain import prices
from model_ops.monitor.story import OURS, Story

BIN = Path(sys.executable).parent
ENV = {"GIT_AUTHOR_NAME": "replay", "GIT_AUTHOR_EMAIL": "replay@localhost", "GIT_COMMITTER_NAME": "replay", "GIT_COMMITTER_EMAIL": "replay@localhost"}


def run(folder: Path, sample: int, months: str) -> tuple[Story, float]:
    "A replay as a program; the record and the seconds."
    began = time.monotonic()
    subprocess.run([BIN/"model-ops", "replay", folder, "--months", months, *(["--sample", str(sample)] if sample else [])], check=True, env={**os.environ, **ENV}, stdout=subprocess.DEVNULL)
    return Story.load(folder/"records"/"replay.json"), time.monotonic() - began


def main(folder: Path, sample: int, months: str, again: bool, sweep: bool) -> None:
    story, took = run(folder/"one", sample, months)
    policies = list(story.months[0].loss)
    print(f"{took:,.0f} s, {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss/1024:,.0f} MB in the largest process; {', '.join(f'{name} {s:,.0f} s' for name, s in story.seconds.items())}\n")
    print(story.summary + "\n")
    print("| month | flights | late | labelled | monitoring | probable cause | alerts | retraining | in charge | " + " | ".join(f"log loss, {p}" for p in policies) + " |")
    print("| --- "*(9 + len(policies)) + "|")
    for m in story.months:
        figures = " | ".join(f"{m.loss[p]:.4f}" for p in policies)
        chosen = f"{m.outcome or 'no'}{f': {m.choice}' if m.choice else ''}"
        print(f"| {m.name} | {m.rows:,} | {m.positives:.1%} | {m.labelled:.0%} | {m.conclusion} | {', '.join(m.causes) or '–'} | {', '.join(m.alarms) or '–'} | {chosen} | version {m.version} | {figures} |")
    print("\n" + "\n".join(f"- {g.sentence}" for g in story.gains))
    low, high = prices(story.gains)
    print(f"- Ahead of all others for a retraining's price of {low:,.0f} to {'any' if high is None else f'{high:,.0f}'}; the choices were made at {story.told['costs'].get('retrain', 0):g}.")
    if sweep:
        value = story.told["costs"].get("loss") or 1.0
        print("\n| price of a retraining | " + " | ".join(g.against for g in story.gains) + " |\n| --- " + "| --- "*len(story.gains) + "|")
        for price in (0, 50, 100, 200, 300, 400, 800):
            nets = [[None if v is None else value*v - price*(g.retrainings - g.others) for v in (g.saved.value, g.saved.low, g.saved.high)] for g in story.gains]
            print(f"| {price} | " + " | ".join("{:,.0f} ({:,.0f} to {:,.0f})".format(*net) for net in nets) + " |")
    if again:
        other, _ = run(folder/"two", sample, months)
        print(f"\nAgain: {'the same conclusion' if other.identity == story.identity else 'ANOTHER conclusion'} ({OURS}: {other.identity[:12]}).")
        if other.identity != story.identity: sys.exit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to; by default a temporary folder, which is removed")
    parser.add_argument("--sample", type=int, default=0, help="about so many flights")
    parser.add_argument("--months", default="2013-04..2013-12")
    parser.add_argument("--again", action="store_true", help="run it twice, and compare")
    parser.add_argument("--sweep", action="store_true", help="the gains at other prices of a retraining")
    told = parser.parse_args()
    place = told.folder or Path(tempfile.mkdtemp())
    try: main(place, told.sample, told.months, told.again, told.sweep)
    finally:
        if told.folder is None: shutil.rmtree(place, ignore_errors=True)
