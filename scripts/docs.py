"""Write README.md from nbs/index.ipynb, and docs/reference.md from the code: one source each, so that neither grows stale."""
import json
import posixpath
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def readme() -> str:
    "The README: the text of the index notebook."
    cells = json.loads((ROOT / "nbs/index.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]).strip() for c in cells if c["cell_type"] == "markdown") + "\n"
    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", lambda link: f"]({posixpath.normpath('nbs/' + link[1])})", text)  # the notebook lies one folder deeper


def table(head: list[str], rows: list[list]) -> str:
    "A Markdown table."
    cell = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return "\n".join([f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |", *(f"| {' | '.join(map(cell, row))} |" for row in rows)])


def commands() -> str:
    "Every command with its options."
    from typer.main import get_command
    from model_ops.cli.main import app
    rows = []
    for name, command in sorted(get_command(app).commands.items()):
        options = ", ".join(f"`{max(p.opts, key=len)}`" for p in command.params if p.name != "help")
        rows.append([f"`{name}`", " ".join(command.help.split()), options])
    return table(["command", "what it does", "arguments and options"], rows)


def settings() -> str:
    "Every key of settings.ini."
    from model_ops.settings import _VARIABLES, KEYS
    return table(["key", "default", "what it says", "environment variable"],
                 [[f"`[{s}] {k}`", f"`{d}`" if d else "", meaning, ", ".join(f"`{v}`" for v in [f"MODEL_OPS_{s}_{k}".upper(), _VARIABLES.get(a)] if v)] for (s, k), (a, d, meaning) in KEYS.items()])


def parameters() -> str:
    "Every parameter of every step."
    from model_ops import params
    from model_ops.workbook.check import steps
    return table(["step", "parameter", "type", "what it means"],
                 [[f"`{step}`", f"`{p.name}`", f"`{p.type}`", p.comment] for step, path in steps(ROOT).items() for p in params.read_cell(path).values()])


def metrics() -> str:
    "Every metric."
    from model_ops.evaluate.metrics import METRICS
    return table(["metric", "called", "better when", "what it says", "undefined"], [[f"`{name}`", m.title, m.better, m.sentence, m.undefined or ""] for name, m in METRICS.items()])


def gates() -> str:
    "Every rule of a gate."
    from typing import get_args
    from model_ops.release.gates import AnyGate
    kinds = get_args(get_args(AnyGate)[0])
    return table(["rule", "passes when", "keys"], [[f"`{get_args(k.model_fields['rule'].annotation)[0]}`", k.__doc__.strip(), ", ".join(f"`{f}`" for f in k.model_fields if f != "rule")] for k in kinds])


def reference() -> str:
    "The reference: all that can be typed."
    parts = {"Commands": commands(), "settings.ini": settings(), "Parameters of the steps": parameters(), "Metrics": metrics(), "Gates": gates()}
    return "# Reference\n\nWritten by `python scripts/docs.py` from the code.\n\n" + "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items()) + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
    (ROOT / "docs/reference.md").write_text(reference(), encoding="utf-8")
    sys.exit(0)
