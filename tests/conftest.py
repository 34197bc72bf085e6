"""Fixtures that every test may use."""
from small_workbook import fresh_workbook, run_workbook  # noqa: F401
