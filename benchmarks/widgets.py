"""How fast the explorers open and react, on the workbook at hand.

    python benchmarks/widgets.py [--root FOLDER] [NAME …]

A reaction is what one change of a control costs in the kernel (`panel.seconds`), pictures included; what the browser adds is measured in the browser tests. Opening is
measured twice: in this process, imports included, and as a notebook with a kernel of its own. To add an explorer: a function here that yields the opened explorer and,
by the name of a control, the values to set one after the other.
"""
import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

ROUNDS = 3  # through the values of each control; the first meets nothing counted yet


def data(root: Path):
    "The workbook's windows."
    from model_ops.widgets.data import DataExplorer
    return _data(DataExplorer(root=root))


def all_flights(root: Path):
    "All flights, in two halves."
    from model_ops.widgets.data import DataExplorer
    return _data(DataExplorer("flights", root/"records/contract.json"))


def _data(explorer):
    columns, windows = [key for _, key in explorer.columns.options], explorer.before.options
    return explorer, {"columns": columns, "find": ["w", "wi", "win", "wind", ""], "role": [v for _, v in explorer.role.options], "dtype": [v for _, v in explorer.dtype.options],
                      "only": [v for _, v in explorer.only.options], "before": windows[::-1], "after": windows, "look": explorer.look.options}


def runs(root: Path):
    "The runs of all steps."
    from model_ops.widgets.runs import RunComparer
    explorer = RunComparer("train", root=root)
    return explorer, {"list": [("1",), ("1", "2"), tuple(key for _, key in explorer.list.options)], "metric": [v for _, v in explorer.metric.options], "base": explorer.base.options, "step": explorer.step.options}


def threshold(root: Path):
    "The workbook's package on its validation and test windows."
    from model_ops.widgets.threshold import GOALS, ThresholdExplorer
    explorer = ThresholdExplorer(root=root)
    if explorer.source.task == "regression": return explorer, {"slider": [explorer.slider.max*k/20 for k in range(1, 20)], "window": explorer.window.options[::-1]}
    return explorer, {"slider": [k/20 for k in range(1, 20)], "miss": [2, 5, 10, 1], "alarm": [2, 3, 1], "wish": list(GOALS)[::-1], "window": explorer.window.options[::-1], "of_class": [v for _, v in explorer.of_class.options]}


def drift(root: Path):
    "The workbook's last verdict; the first course that the record does not keep reads the current window."
    from model_ops.widgets.drift import RANKS, SHOWN, DriftExplorer
    explorer = DriftExplorer(root=root)
    return explorer, {"columns": list(explorer.verdict.columns), "slider": [k/50 for k in range(1, 15)], "rank": list(RANKS)[::-1], "outcome": list(SHOWN)[::-1], "find": ["w", "wi", "win", "wind", ""]}


def promotion(root: Path):
    "The promotion desk: what typing costs; nothing is pressed."
    from model_ops.widgets.desk import PromotionDesk
    explorer = PromotionDesk(root)
    return explorer, {"who": ["Ada", "Ada L."], "why": ["It", "It is", "It is better.", ""]}


EXPLORERS: dict[str, Callable[[Path], tuple[object, dict[str, Iterable]]]] = {"data": data, "all_flights": all_flights, "runs": runs, "threshold": threshold, "drift": drift, "promotion": promotion}
NOTEBOOKS = ("data", "runs", "threshold", "drift", "promotion")  # in nbs/explore


def reactions(name: str, root: Path) -> Iterable[str]:
    "A line for each control."
    start = time.perf_counter()
    explorer, controls = EXPLORERS[name](root)
    yield f"| {name} | opened | | {1000*(time.perf_counter() - start):.0f} | |"
    for control, values in controls.items():
        took, first = [], None
        for turn in range(ROUNDS):
            for value in list(values):
                widget = getattr(explorer, control)
                if widget.value == value: continue
                explorer.seconds = 0.0
                widget.value = value
                assert explorer.error is None, explorer.error
                took.append(1000*explorer.seconds)
            if turn == 0: first = max(took, default=0)
        if took: yield f"| {name} | {control} | {len(took)} | {statistics.median(took):.0f} | {max(took):.0f}{' (first time)' if max(took) == first else ''} |"


def opened(name: str, root: Path) -> str:
    "How long a notebook takes with a kernel of its own, and without the kernel's start."
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.read(root/"nbs/explore"/f"{name}.ipynb", as_version=4)
    start = time.perf_counter()
    NotebookClient(nb, resources={"metadata": {"path": str(root/"nbs/explore")}}).execute()
    whole = time.perf_counter() - start
    at = [datetime.fromisoformat(c.metadata.execution[k]) for c in nb.cells if c.cell_type == "code" for k in ("iopub.execute_input", "shell.execute_reply")]
    return f"| nbs/explore/{name}.ipynb | {whole:.1f} | {(max(at) - min(at)).total_seconds():.1f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(EXPLORERS), help=f"of {', '.join(EXPLORERS)}")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the workbook's root")
    told = parser.parse_args()
    print("| explorer | control | changes | median ms | worst ms |\n| --- | --- | --: | --: | --: |")
    for name in told.names: print(*reactions(name, told.root.resolve()), sep="\n", flush=True)
    print("\n| notebook | s with the kernel's start | s without |\n| --- | --: | --: |")
    for name in NOTEBOOKS:
        if name in told.names: print(opened(name, told.root.resolve()), flush=True)
