"""Measure what a person waits for between a changed recipe cell and the compared result, and print a table.

    python benchmarks/by_hand.py                    # on a new workbook of flights, which is run once before (some minutes)
    python benchmarks/by_hand.py --workbook DIR     # on a copy of a workbook that has run
    python benchmarks/by_hand.py --times 3          # medians of so many changes

A kernel runs `train` by hand, as JupyterLab would, once to its end. Then the recipe cell is changed, it and the cells down to the package
are run again, and `%step evaluate` is typed there; then the rest of the page. Each cell's time is that from sending it to its reply.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")}, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true",
       "GOMP_SPINCOUNT": "1000", "GIT_AUTHOR_NAME": "Benchmark", "GIT_AUTHOR_EMAIL": "b@example.org", "GIT_COMMITTER_NAME": "Benchmark", "GIT_COMMITTER_EMAIL": "b@example.org"}
LAST = "Does it hold over time?"  # the first heading that %step evaluate does not wait for
STEP = "%step evaluate"
RECIPE, CHANGED = "max_leaf_nodes=max_leaf_nodes", "max_leaf_nodes={leaves}"


def workbook(folder: Path, source: Path | None) -> Path:
    "A workbook that has run: a copy, or a new one of flights."
    if source:
        return Path(shutil.copytree(source, folder, symlinks=True, ignore=shutil.ignore_patterns(".venv", "build", "__pycache__", ".hypothesis")))
    for words, where in (("new", folder, "--example", "flights"), folder.parent), (("run",), folder):
        subprocess.run([BIN / "model-ops", *words], cwd=where, env=ENV, check=True, stdout=subprocess.DEVNULL)
    return folder


class Page:
    "A step's notebook, run by hand in a kernel."
    def __init__(self, notebook: Path):
        from jupyter_client.manager import start_new_kernel
        self.cells = [c for c in json.loads(notebook.read_text())["cells"] if c["cell_type"] in ("code", "markdown")]
        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(notebook.parent), env=ENV)

    def run(self, source: str) -> float:
        "Seconds from sending a cell to its reply; ends where the cell fails."
        start = time.perf_counter()
        reply = self.client.execute_interactive(source, output_hook=lambda m: None, timeout=600)["content"]
        if reply["status"] != "ok":
            sys.exit("\n".join(reply.get("traceback", [])))
        return time.perf_counter() - start

    def titled(self):
        "Heading above and source of each code cell."
        heading = ""
        for cell in self.cells:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                heading = next((line.lstrip("# ") for line in source.splitlines() if line.startswith("#")), heading)
            else:
                yield heading, source

    def close(self):
        "End the kernel."
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def measured(root: Path, times: int) -> dict[str, float]:
    "Part → median seconds, from the changed recipe cell to the compared result."
    page = Page(root / "nbs/steps/train.ipynb")
    try:
        for _, source in page.titled(): page.run(source)
        page.run(STEP)
        changes = []
        for n in range(times):
            seconds, begun = {}, False
            for heading, source in page.titled():
                begun = begun or RECIPE in source
                if heading == LAST and STEP not in seconds: seconds[STEP] = page.run(STEP)
                if begun: seconds[heading] = seconds.get(heading, 0.0) + page.run(source.replace(RECIPE, CHANGED.format(leaves=24 + n)))
            changes.append(seconds)
    finally: page.close()
    return {part: statistics.median(c[part] for c in changes) for part in changes[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workbook", type=Path)
    parser.add_argument("--times", type=int, default=3)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(workbook(Path(folder) / "flights", told.workbook and told.workbook.resolve()), told.times)
    print("| from a changed recipe cell to the compared result | seconds |\n| --- | ---: |")
    waited = 0.0
    for part, seconds in found.items():
        waited += seconds
        print(f"| {part} | {seconds:.1f} |")
        if part == STEP: print(f"| **the compared result is there** | **{waited:.1f}** |")
    print(f"| **all** | **{waited:.1f}** |")
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
