"Tables as people send them: what is read, and what is said of it."
import csv
import io

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import enforce, learn
from model_ops.data.source import read
from model_ops.data.survey import survey
from model_ops.data.windows import split

N = 400
rng = np.random.default_rng(0)
DAYS = [np.datetime64("2023-01-01") + i//2 for i in range(N)]


def german(i: int, x: float) -> str: return f"{x:,.2f}".translate(str.maketrans(",.", ".,"))


COLUMNS = {  # what the cells of a messy export look like
    "Kunden-Nr.": [f"K{i:05d}" for i in range(N)],
    "Datum der Bestellung": [f"{str(d)[8:]}.{str(d)[5:7]}.{str(d)[:4]}" for d in DAYS],
    "geliefert am": [(lambda d: f"{d.day} {d:%b %Y}" if i % 2 else f"{d:%Y-%m-%d}")((DAYS[i] + 3).astype(object)) for i in range(N)],
    "Umsatz (€)": [["", "-", "n.a."][i % 3] if i % 50 == 0 else german(i, x) for i, x in enumerate(rng.lognormal(7, 1, N))],
    "Rabatt": [f"{x:.1f} %".replace(".", ",") for x in rng.random(N)*20],
    "Gewicht": ["NA" if i % 40 == 0 else f"{x:.3f}".replace(".", ",") for i, x in enumerate(rng.random(N)*3)],
    "Größe.in.cm": [str(x) for x in rng.integers(150, 200, N)],
    "PLZ": [f"{x:05d}" for x in rng.choice([1067, 10115, 80331, 50667], N)],
    "Straße": [f"Hauptstraße {i}" for i in range(N)],
    "E-Mail": [f"kunde{i}@beispiel.de" for i in range(N)],
    "Bemerkung": [f'bitte "vorsichtig"\nliefern; Tür {i} ist {"auf" if i % 2 else "zu"}' for i in range(N)],
    "Land": list(rng.choice(["DE", "AT", "CH"], N, p=[0.9, 0.08, 0.02])),
    "Währung": ["EUR"]*N,
    "leer": [""]*N,
    "": [str(i + 1) for i in range(N)],
    "Umsatz (€) ": [""]*N,  # blanks taken off, the name of another
    "zurück": list(rng.choice(["ja", "nein"], N, p=[0.3, 0.7])),
}


def export(tmp_path, columns, name="bestellungen_2023.csv", delimiter=";", encoding="cp1252", above="", tail="", feed="\r\n"):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=tail + feed)
    text.write(above)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path = tmp_path/name
    path.write_bytes(text.getvalue().encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("above, tail", [("", ""), ("Bericht 2023\r\n\r\n", ""), ("sep=;\r\n", ""), ("", ";")])
def test_an_export_from_munich(tmp_path, encoding, above, tail):
    s = survey(export(tmp_path, COLUMNS, encoding=encoding, above=above, tail=tail), target="zurück")
    types = {c: f"{column.role} {column.dtype}" if column.role != "ignore" else "ignore" for c, column in s.contract.columns.items()}
    assert types == {
        "Kunden-Nr.": "id text", "Datum der Bestellung": "time date", "geliefert am": "feature date", "Umsatz (€)": "feature number", "Rabatt": "feature number", "Gewicht": "feature number", "Größe.in.cm": "feature integer",
        "PLZ": "feature category", "Straße": "personal text", "E-Mail": "personal text", "Bemerkung": "ignore", "Land": "feature category", "Währung": "ignore", "leer": "ignore", "column_15": "id integer",
        "Umsatz (€)_2": "ignore", "zurück": "target category"}
    assert (s.task, s.positive, s.time, s.noun, s.rows) == ("binary", "ja", "Datum der Bestellung", "rows", N)
    assert [leak.columns for leak in s.leaks.found if leak.rule == "after the event"] == [["geliefert am"]]
    told = " ".join(s.told)
    for words in ("semicolons", "Dates, day first: Datum der Bestellung", "Taken as missing: Umsatz (€)", "has a name twice", "Without a name in the header"): assert words in told, words


def test_the_survey_of_an_export_leads_prepare_to_the_same_contract(tmp_path):
    path = export(tmp_path, COLUMNS)
    s = survey(path, target="zurück")
    p, table = s.parameters(), read(path)
    assert p["roles"]["Straße"] == "personal" and set(p) == {"target", "time", "task", "positive", "subject", "windows", "shuffle", "chunk", "roles"}
    cut = split(table.frame, p["windows"], time=p["time"] or None, subject=p["subject"] or None, shuffle=0 if p["shuffle"] else None)
    contract = learn(cut.frames["train"], target=p["target"], time=p["time"] or None, task=p["task"], roles=p["roles"], positive=p["positive"])
    assert contract == s.contract
    rejected = {name: enforce(contract, rows)[1].rejected for name, rows in cut.frames.items()}
    assert max(rejected.values()) == 0 and cut.record.outside == 0, rejected


@pytest.mark.parametrize("values, read_as, said", [
    (["1", "2"]*9 + ["3", "n/k"], pl.String, "'n/k'"), (["1", "", "3"], pl.Int64, ""), (["1", "-", "NA"], pl.Int64, "Taken as missing"), (["1.000", "2.500,5", "3"], pl.Float64, "separators"), (["1,000", "2,500.5", "3"], pl.Float64, "separators"),
    (["$1,000.50", "$2.00", "$3"], pl.Float64, "'$1,000.50' is 1000.5"), (["1e3", "2", "3.5"], pl.Float64, ""), (["007", "12", "3"], pl.String, "leading zeros"), (["yes", "no", "yes"], pl.String, ""), (["TRUE", "false", ""], pl.Boolean, "True or false"),
    (["2023-01-02", "03.01.2023", "4 Jan 2023"], pl.Date, "Dates"), (["13/01/2023", "14/01/23", "15/01/2023"], pl.Date, "day first"), (["01/02/2023", "02/02/2023", "03/02/2023"], pl.String, "cannot be told apart"),
    (["2023-01-02 10:00", "2023-01-02T11:00:00Z", "x"], pl.String, ""), (["a\nb", "c;d", 'e "f"'], pl.String, ""), (["é", "日本", "🙂"], pl.String, ""),
])
def test_one_column(tmp_path, values, read_as, said):
    table = read(export(tmp_path, {"x.y z": values*(60//len(values)), "k": [str(i) for i in range(60)]}, encoding="utf-8", feed="\n"))
    assert table.frame.schema["x.y z"] == read_as and said in " ".join(table.told), table.told


@pytest.mark.slow
def test_five_hundred_columns(tmp_path):
    y = np.random.default_rng(1_000).integers(0, 2, N)
    wide = {f"f {i}": [f"{v:.3f}".replace(".", ",") for v in np.random.default_rng(i).normal(size=N)] for i in range(480)} | {f"c.{i}": list(np.random.default_rng(i).choice(["a", "b", "ç"], N)) for i in range(18)}
    s = survey(export(tmp_path, {"nr": [str(i) for i in range(N)]} | wide | {"y": [str(v) for v in y]}, name="wide.csv"), target="y")
    assert s.columns == 500 and len(s.contract.features) == 498 and s.contract.columns["nr"].role == "id" and not s.time and not s.leaks.found and not s.shuffle


def test_names_that_try_everything(tmp_path):
    names = ["a b", "a.b", "a-b", "Ünïcode", "日本", "<script>alert(1)</script>", "a" * 200, "select", "1", "x\ny"]
    s = survey(export(tmp_path, {name: [f"{v:.4f}" for v in np.random.default_rng(i).normal(size=N)] for i, name in enumerate(names)} | {"y": list(np.random.default_rng(1_000).choice(["yes", "no"], N))}, encoding="utf-8", delimiter=","), target="y")
    assert s.contract.features == names
    assert "<script>" not in str(s.__html__()) and type(s).from_json(s.to_json()) == s
