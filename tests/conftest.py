"""Fixtures that every test may use, and the list of what failed."""
from pathlib import Path

from small_workbook import fresh_workbook, run_workbook  # noqa: F401

FAILED = Path(__file__).resolve().parent.parent / "scratch" / "failed-tests.txt"


def pytest_terminal_summary(terminalreporter, config):
    "Keep the names of tests that failed, for scripts/once_more."
    if hasattr(config, "workerinput"): return
    names = sorted({report.nodeid for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])})
    FAILED.parent.mkdir(exist_ok=True)
    FAILED.write_text("".join(f"{name}\n" for name in names))
