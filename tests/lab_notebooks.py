"""Notebook files that tests of the lab are made of."""
RAN = [{"output_type": "execute_result", "execution_count": 3, "data": {"text/plain": "<Model at 0x7f2a>", "text/html": "<svg></svg>"}, "metadata": {}}]


def cell(id: str, source: str, kind: str = "code", tags=(), outputs=(), **metadata) -> dict:
    "A cell of a notebook file."
    extra = {"execution_count": 3 if outputs else None, "outputs": list(outputs)} if kind == "code" else {}
    return {"cell_type": kind, "id": id, "metadata": {**({"tags": list(tags)} if tags else {}), **metadata}, "source": source, **extra}


def notebook(*cells: dict, **metadata) -> dict:
    "A notebook's JSON."
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": list(cells), "metadata": {"kernelspec": spec, **metadata}, "nbformat": 4, "nbformat_minor": 5}


BASE = (cell("a", "# Größe", "markdown"), cell("b", "rows: int = 1  # how many\nseed: int = 2  # of it", tags=["parameters"]), cell("c", "z = rows + seed\nz", tags=["report"]), cell("d", "step.finish(z)"))


def changed(**sources: str) -> dict:
    "BASE with other sources, by cell id; an empty one takes the cell away."
    return notebook(*({**c, "source": sources.get(c["id"], c["source"])} for c in BASE if sources.get(c["id"]) != ""))
