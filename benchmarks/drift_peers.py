"""Drift beside Evidently and NannyML, each in an environment of its own; Markdown tables on standard output, progress on standard error.

    python benchmarks/drift_peers.py                          # all four parts
    python benchmarks/drift_peers.py --speed --sizes 10000    # one part, or some: --speed --alarms --mild --cbpe
    python benchmarks/drift_peers.py --cbpe --scores FILE     # a table of scores that is there already

1. speed: two Parquet files to a saved report; 20 columns of numbers and 10 of categories; and the floor: the columns read and counted, nothing compared
2. alarms: ten columns, no drift: how many reports flag any column
3. mild: one column of ten moved by 0.05 and 0.15 standard deviations: who says what
4. cbpe: the performance of a model of flights estimated without labels, beside what came

The environments are made on the first run, in `--envs`: by uv where it is on the PATH, else by venv and pip. Every measured program is started anew and seen
from outside (`wait4`: its cpu, its children's, its peak memory).
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ.update(DO_NOT_TRACK="1", NML_DISABLE_USAGE_LOGGING="1")  # before the programs' environment is copied
from run import BIN, Measured, median

# Both stop at the import with pandas 3, and NannyML 0.13.1 uses statsmodels without saying so.
PEERS = {"evidently": ["evidently", "pandas<3"], "nannyml": ["nannyml", "pandas<3", "statsmodels"]}
ONCE = 1_000_000  # rows from which the peers run only once


def note(text: str) -> None:
    "Progress, beside the tables."
    print(text, file=sys.stderr, flush=True)


def environment(folder: Path, name: str) -> Path:
    "The Python of a peer's environment, made where it is missing."
    home, uv = folder / name, shutil.which("uv")
    python = home / "bin/python"
    if (home / "ready").exists(): return python
    note(f"making {name}'s environment in {home}")
    steps = [[uv, "venv", "--quiet", "--clear", "--python", sys.executable, home], [uv, "pip", "install", "--quiet", "--python", python, *PEERS[name]]] if uv else \
            [[sys.executable, "-m", "venv", "--clear", home], [python, "-m", "pip", "install", "--quiet", *PEERS[name]]]
    for step in [*steps, [python, "-c", f"import {name}"]]: subprocess.run([str(s) for s in step], check=True)
    (home / "ready").touch()
    return python


def versions(python: Path, *names: str) -> str:
    "Names and versions of packages in an environment."
    code = f"from importlib.metadata import version; print(', '.join(f'{{n}} {{version(n)}}' for n in {names!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def script(python: Path | str, name: str, *words) -> None:
    "Run one of the scripts in peers/; what it prints goes to standard error where it fails."
    done = subprocess.run([str(w) for w in (python, HERE / "peers" / name, *words)], capture_output=True, text=True)
    if done.returncode: sys.exit(f"{name} ended with {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")


def table(head: list[str], rows: list[list]) -> str:
    "A Markdown table; all columns but the first to the right."
    return "\n".join(f"| {' | '.join(map(str, r))} |" for r in [head, ["---", *["---:"] * (len(head) - 1)], *rows])


def kept(measure, *words) -> Measured | None:
    "What was measured, or nothing where the program failed: a peer that cannot is a finding, and no reason to stop."
    try: return measure(*words)
    except SystemExit as e: note(str(e)); return None


def speed(told, python: dict[str, Path], folder: Path) -> None:
    "Part 1."
    print("\n### Two Parquet files to a saved report\n")
    peer = lambda name, file, mode: [python[name], HERE / "peers" / file, mode]
    rows = []
    for size in told.sizes:
        here = folder / f"speed-{size}"
        script(sys.executable, "tables.py", here, "speed", size)
        pair = [here / "ref.parquet", here / "cur.parquet"]
        programs = {"floor: read and count": ([sys.executable, HERE / "peers/floor.py", *pair], "json", True), "`model-ops drift REF CUR --html OUT`": ([BIN / "model-ops", "drift", *pair, "--html"], "html", True),
                    "NannyML, results only": ([*peer("nannyml", "nannyml_drift.py", "results"), *pair], "parquet", False), "NannyML, a figure for each column": ([*peer("nannyml", "nannyml_drift.py", "each"), *pair], "html", False),
                    **({"NannyML, its one figure of all columns": ([*peer("nannyml", "nannyml_drift.py", "together"), *pair], "html", False)} if size == min(told.sizes) else {}),
                    "Evidently, `DataDriftPreset`": ([*peer("evidently", "evidently_drift.py", "report"), *pair], "html", False)}
        for name, (command, ending, quick) in programs.items():
            out, times = here / f"report.{ending}", told.times if quick or size < ONCE and "one figure" not in name else 1
            out.unlink(missing_ok=True)
            found = kept(median, [*command, out], here, times)
            cells = [f"{found.wall:.2f}", f"{found.cpu:.2f}", f"{found.memory:,.0f}", f"{out.stat().st_size / 1024:,.0f}"] if found else ["failed", "", "", ""]
            rows.append([f"{size:,} + {size:,}", name, *cells, times])
            note(f"{size:>9,}  {name:42} {'  '.join(cells)}   load {os.getloadavg()[0]:.1f}")
        shutil.rmtree(here)
    rows = [[r[0] if i == 0 or rows[i - 1][0] != r[0] else "", *r[1:]] for i, r in enumerate(rows)]
    print(table(["rows", "program", "wall s", "cpu s", "peak MB", "report KB", "runs"], rows))


def said(python: dict[str, Path], out: Path, pairs: list[Path], margins: tuple[float, ...] = (0,)) -> dict[str, list[dict[str, str]]]:
    "What each tool says of each column, for each pair of files."
    def answer(*words) -> list[dict[str, str]]:
        script(*words, *pairs)
        return json.loads(out.read_text())
    ours = {f"model_ops, margin {m:.0%}" if m else "model_ops": answer(sys.executable, "ours_drift.py", out, m) for m in margins}
    return {"Evidently": answer(python["evidently"], "evidently_drift.py", "flags", out), "NannyML": answer(python["nannyml"], "nannyml_drift.py", "flags", out), **ours}


def alarms(told, python: dict[str, Path], folder: Path) -> None:
    "Part 2."
    print("\n### No drift, ten columns: reports with any column flagged (share of all columns flagged)\n")
    rows = []
    for kind, name in (("normal", "ten normal"), ("mixed", "eight numbers of four kinds, two categories")):
        for size in (500, 5_000, 50_000):
            here, count = folder / f"alarms-{kind}-{size}", max(1, told.repetitions // (1 if size < 50_000 else 2))
            script(sys.executable, "tables.py", here, "pairs", size, count, kind)
            found = said(python, folder / "said.json", [here / f"{i:03}-{side}.parquet" for i in range(count) for side in ("ref", "cur")])
            every = {tool: [o for report in reports for o in report.values()] for tool, reports in found.items()}
            flagged = [f"{sum('drifted' in r.values() for r in reports)} of {count} ({every[tool].count('drifted') / len(every[tool]):.1%})" for tool, reports in found.items()]
            rows.append([name, f"{size:,}", *flagged, f"{every['model_ops'].count('stable') / len(every['model_ops']):.0%}"])
            note("  ".join(rows[-1]))
            shutil.rmtree(here)
    print(table(["columns", "rows", "Evidently", "NannyML", "model_ops", "of model_ops' columns called stable"], rows))


def mild(told, python: dict[str, Path], folder: Path) -> None:
    "Part 3."
    here, shifts = folder / "mild", (0.0, 0.05, 0.15)
    script(sys.executable, "tables.py", here, "mild", told.rows)
    found = said(python, folder / "said.json", [here / f for s in shifts for f in ("ref.parquet", f"{s:.2f}-cur.parquet")], (0.05, 0.01))
    print(f"\n### One column of ten moved, {told.rows:,} + {told.rows:,} rows: what is said of it (and of the nine that did not move)\n")
    cell = lambda report: f"{report['n0']} ({sum(o == 'drifted' for n, o in report.items() if n != 'n0')} of 9 drifted)"
    print(table(["", "not moved", "moved by 0.05 sd", "moved by 0.15 sd"], [[name, *map(cell, reports)] for name, reports in found.items()]))
    print("\nOf a bell curve moved by 0.05 standard deviations 2.0 % of the rows change their place, by 0.15 standard deviations 6.0 %.")


def cbpe(told, python: dict[str, Path], folder: Path) -> None:
    "Part 4."
    scores, out = folder / "scores.parquet", {name: folder / f"{name}.json" for name in ("ours", "nannyml")}
    script(sys.executable, "ours_cbpe.py", "scores", scores, *([told.scores] if told.scores else []))
    script(python["nannyml"], "nannyml_cbpe.py", scores, out["nannyml"])
    script(sys.executable, "ours_cbpe.py", "estimate", scores, out["ours"])
    found = {name: json.loads(path.read_text()) for name, path in out.items()}
    for period in ("month", "week"): compared(found["ours"]["realized"][period], {name: f[period] for name, f in found.items()}, found["ours"]["validation"], period)


def compared(realized: list[dict], estimates: dict[str, list[dict]], before: dict[str, float], period: str) -> None:
    "Estimates beside what came, over all chunks of a period."
    truth = {(r["start"], r["metric"]): r["value"] for r in realized}
    sets = {"as in validation": [dict(r, value=before[r["metric"]], low=None) for r in realized], "NannyML, its band (3 errors)": estimates["nannyml"],
            "NannyML, 1.96 errors": [dict(r, low=r["value"] - 1.96 * r["error"], high=r["value"] + 1.96 * r["error"]) for r in estimates["nannyml"]], "model_ops, its 95 % interval": estimates["ours"]}
    rows = []
    for metric in dict.fromkeys(r["metric"] for r in realized):
        for name, found in sets.items():
            these = [(r, truth[r["start"], metric]) for r in found if r["metric"] == metric and r["value"] is not None]
            if not these: rows.append([metric, name, "not available", "", "", ""]); continue
            mean = lambda values: f"{sum(values) / len(values):.4f}"
            held = [r for r in these if r[0]["low"] is not None]
            cover = [f"{sum(r['low'] <= t <= r['high'] for r, t in held)} of {len(held)}", mean([r["high"] - r["low"] for r, _ in held])] if held else ["", ""]
            rows.append([metric, name, mean([abs(r["value"] - t) for r, t in these]), mean([r["value"] - t for r, t in these]), *cover])
    rows = [[r[0] if i == 0 or rows[i - 1][0] != r[0] else "", *r[1:]] for i, r in enumerate(rows)]
    chunks = len({r["start"] for r in realized})
    print(f"\n### Flights, May to December, {chunks} {period}s: estimated without labels, against what came\n")
    print(table(["metric", "estimate", "mean absolute error", "mean error", "interval holds what came", "mean width"], rows))
    if period != "month": return
    print("\n### ROC AUC month by month\n")
    band = lambda found, start: next((f"{r['value']:.4f} ({r['low']:.4f} to {r['high']:.4f})" for r in found if r["start"] == start and r["metric"] == "roc_auc"), "")
    print(table(["from", "what came", "NannyML, its band", "model_ops, its 95 % interval"], [[s, f"{truth[s, 'roc_auc']:.4f}", band(estimates["nannyml"], s), band(estimates["ours"], s)] for s in dict.fromkeys(r["start"] for r in realized)]))


PARTS = {"speed": speed, "alarms": alarms, "mild": mild, "cbpe": cbpe}


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part, function in PARTS.items(): words.add_argument(f"--{part}", action="store_true", help=f"{function.__doc__} All parts are run where none is named.")
    words.add_argument("--envs", type=Path, default=HERE / ".envs", help="where the peers' environments are, or are made")
    words.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="rows of each file in part 1")
    words.add_argument("--times", type=int, default=3, help="runs in part 1, after one that is not counted; peers run once from 1,000,000 rows")
    words.add_argument("--repetitions", type=int, default=40, help="reports for each row of part 2; half as many at 50,000 rows")
    words.add_argument("--rows", type=int, default=1_000_000, help="rows of each file in part 3")
    words.add_argument("--scores", type=Path, help="a table of scores for part 4; without it the flights' model is trained")
    told = words.parse_args()
    python = {name: environment(told.envs.resolve(), name) for name in PEERS}
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load average before {os.getloadavg()[0]:.1f}; "
          f"{versions(sys.executable, 'model_ops', 'polars')}; {versions(python['evidently'], 'evidently', 'pandas')}; {versions(python['nannyml'], 'nannyml', 'pandas')}")
    named = [part for part in PARTS if getattr(told, part)]
    with tempfile.TemporaryDirectory(prefix="model-ops-peers-") as folder:
        for part in named or PARTS: PARTS[part](told, python, Path(folder))
    print(f"\nLoad average after: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__": main()
