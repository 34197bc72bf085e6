"Bad input: a finding or a clear error, never a stack trace, never markup in the report."
import time
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.drift.compare import compare
from model_ops.drift.files import compare_files, page
from model_ops.drift.profile import Profile
from model_ops.errors import DataError

n = 400
rng = np.random.default_rng(0)
x = pl.Series(rng.normal(size=n))


def rules(verdict) -> set: return {(f.column, f.rule) for f in verdict.findings}
def both(was, now): return compare(pl.DataFrame({"ok": x, "odd": was}), pl.DataFrame({"ok": x, "odd": now}))


NULLS, INFINITE = pl.Series([None]*n, dtype=pl.Float64), pl.Series([np.inf, -np.inf]*(n//2))
PAIRS = {  # a column in the reference, in the current window, and the finding that there must be (or none)
    "all null now": (x, NULLS, "nulls"),
    "all null in both": (NULLS, NULLS, None),
    "values where all was null": (NULLS, x, "unseen categories"),
    "null dtype now": (x, pl.Series([None]*n), "nulls"),
    "constant in both": (pl.Series([5.0]*n), pl.Series([5.0]*n), None),
    "constant, then another": (pl.Series([5.0]*n), pl.Series([6.0]*n), "outside the range"),
    "constant, then varied": (pl.Series([5]*n), pl.Series(range(n)), "outside the range"),
    "infinite now": (x, INFINITE, "infinite values"),
    "infinite in both": (INFINITE, INFINITE, "infinite values"),
    "infinite, then finite": (INFINITE, x, "outside the range"),
    "NaN against null": (pl.Series([np.nan, 1.0]*(n//2)), pl.Series([None, 1.0]*(n//2)), None),
    "number, then words": (x, pl.Series(["many"]*n), "changed type"),
    "number, then words that spell numbers": (x, x.cast(pl.String), "read as another type"),
    "number, then lists": (x, pl.Series([[1.0]]*n), "changed type"),
    "number, then structures": (x, pl.Series([{"a": 1}]*n), "changed type"),
    "number, then bytes": (x, pl.Series([b"\xff"]*n), "changed type"),
    "category, then lists": (pl.Series(["a", "b"]*(n//2)), pl.Series([["a"]]*n), "changed type"),
    "category, then fractions": (pl.Series(["a", "b"]*(n//2)), x, "changed type"),
    "boolean, then words": (pl.Series([True, False]*(n//2)), pl.Series(["yes"]*n), "changed type"),
    "boolean, then 0 and 1": (pl.Series([True, False]*(n//2)), pl.Series([1, 0]*(n//2)), "read as another type"),
    "decimals": (pl.Series([Decimal("1.50"), Decimal("2.25")]*(n//2)), pl.Series([1.5, 2.25]*(n//2)), None),
    "uint64": (pl.Series([2**64 - 1, 0]*(n//2), dtype=pl.UInt64), pl.Series([2**64 - 1, 0]*(n//2), dtype=pl.UInt64), None),
    "beyond 2**53": (pl.Series([2**60 + i for i in range(n)]), pl.Series([2**60 + i for i in range(n)]), None),
    "128 bits": (pl.Series([2**100, -2**100]*(n//2), dtype=pl.Int128), pl.Series([2**100, -2**100]*(n//2), dtype=pl.Int128), None),
    "largest floats": (pl.Series([1.7e308, -1.7e308]*(n//2)), pl.Series([1.7e308, -1.7e308]*(n//2)), None),
    "a megabyte": (pl.Series(["a", "b"]*(n//2)), pl.Series(["a"*1_000_000, "b"]*(n//2)), "unseen categories"),
    "a megabyte in both": (pl.Series(["a"*1_000_000, "b"]*(n//2)), pl.Series(["a"*1_000_000, "b"]*(n//2)), None),
    "markup": (pl.Series(["<b>a</b>", "<script>x</script>"]*(n//2)), pl.Series(["<img src=x onerror=y>", "<b>a</b>"]*(n//2)), "unseen categories"),
    "zones": (pl.Series([datetime(2020, 1, 1) + timedelta(hours=i) for i in range(n)]), pl.Series([datetime(2020, 1, 1) + timedelta(hours=i) for i in range(n)]).dt.replace_time_zone("Asia/Tokyo"), "read as another type"),
    "times of day": (pl.Series(range(n)).cast(pl.Time), pl.Series(["noon"]*n), "changed type"),
}


@pytest.mark.parametrize("case", PAIRS)
def test_odd_columns_are_findings(case):
    was, now, rule = PAIRS[case]
    verdict = both(was, now)
    assert verdict.columns["ok"].outcome in ("stable", "not enough data") and (("odd", rule) in rules(verdict) if rule else not {r for c, r in rules(verdict) if c == "odd"} - {"nulls"})
    text = page(verdict, "Drift")
    assert "<script" not in text and "<img" not in text and "<b>a" not in text and len(text) < 200_000 and len(verdict.to_json()) < 200_000


def test_columns_on_one_side_only():
    verdict = compare(pl.DataFrame({"ok": x, "gone": x}), pl.DataFrame({"ok": x, "<new>": [[1]]*n}))
    assert rules(verdict) == {("gone", "vanished column"), ("<new>", "new column")} and verdict.outcome == "drifted"
    assert "<new>" not in page(verdict, "Drift")


@pytest.mark.parametrize("rows", [1, 2, 29])
def test_a_few_rows_are_not_enough(rows):
    few = pl.DataFrame({"x": x[:rows], "c": ["a"]*rows})
    for was, now in ((few, few), (pl.DataFrame({"x": x, "c": ["a"]*n}), few), (few, pl.DataFrame({"x": x, "c": ["a"]*n}))):
        assert compare(was, now).outcome == "not enough data"


def test_no_rows_are_an_error():
    for was, now in ((pl.DataFrame({"x": x}), pl.DataFrame({"x": x[:0]})), (pl.DataFrame({"x": x[:0]}), pl.DataFrame({"x": x}))):
        with pytest.raises(DataError, match="has no rows"): compare(was, now)


@pytest.mark.slow
def test_five_thousand_columns():
    wide = pl.DataFrame({f"<i>{i}": rng.normal(size=200) if i % 4 else rng.choice(["a", "b"], 200) for i in range(5_000)})
    start = time.process_time()
    profile = Profile.of(wide)
    now = Profile.of(wide, like=profile)
    assert time.process_time() - start < 10 and len(profile.columns) == len(now.columns) == 5_000 and not now.differs


FILES = {  # the bytes of a file, its name, and what is said of it
    "empty": (b"", "t.csv", "is empty"),
    "empty parquet": (b"", "t.parquet", "damaged|empty"),
    "header only": (b"x,y\n", "t.csv", "no rows"),
    "ragged": (b"x,y\n1,2\n1,2,3\n", "t.csv", "line 3 has 3 fields"),
    "text that is no Parquet": (b"x,y\n1,2\n", "t.parquet", "damaged"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\0", "t.csv", "no text"),
    "no table": (b"{}", "t.yaml", "does not look like a table"),
    "a record of another kind": (b'{"kind": "verdict", "version": 1}', "t.json", "kind 'verdict'"),
    "no JSON": (b"{", "t.json", "is not JSON"),
}


@pytest.fixture
def good(tmp_path):
    pl.DataFrame({"x": x, "c": ["a", "b"]*(n//2)}).write_parquet(tmp_path/"good.parquet")
    return tmp_path/"good.parquet"


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_tables(case, good, tmp_path):
    content, name, wrong = FILES[case]
    (tmp_path/name).write_bytes(content)
    for pair in ((good, tmp_path/name), (tmp_path/name, good)):
        with pytest.raises(DataError, match=wrong): compare_files(*pair)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("write", ["parquet", "ipc"])
def test_truncated_files(kept, write, good, tmp_path):
    whole, cut = tmp_path/f"whole.{write}", tmp_path/f"cut.{write}"
    getattr(pl.DataFrame({"x": rng.normal(size=50_000), "c": rng.choice(["a", "b"], 50_000)}), f"write_{write}")(whole)
    data = whole.read_bytes()
    cut.write_bytes(data[:int(len(data)*kept)])
    with pytest.raises(DataError, match="damaged"): compare_files(good, cut)


def test_bytes_in_the_middle_are_broken(good, tmp_path):
    whole = tmp_path/"whole.parquet"
    pl.DataFrame({"x": rng.normal(size=50_000), "c": rng.choice(["a", "b"], 50_000)}).write_parquet(whole)
    data = bytearray(whole.read_bytes())
    data[4:60] = bytes(56)
    whole.write_bytes(data)
    with pytest.raises(DataError, match="damaged"): compare_files(good, whole)


def test_paths_that_are_no_files(good, tmp_path):
    (tmp_path/"folder").mkdir()
    for path, wrong in (("folder", "is a folder"), ("god.parquet", "Did you mean 'good.parquet'"), ("no/where.csv", "does not exist")):
        for pair in ((good, tmp_path/path), (tmp_path/path, good)):
            with pytest.raises(DataError, match=wrong): compare_files(*pair)


def test_text_in_other_encodings_and_with_decimal_commas(tmp_path):
    lines = "name;größe\n" + "".join(f"Jürgen{i % 3};{i % 17},5\n" for i in range(500))
    (tmp_path/"utf8.csv").write_text(lines, encoding="utf-8")
    for encoding, said in (("cp1252", "Windows-1252"), ("utf-16", "UTF-16")):
        (tmp_path/f"{encoding}.csv").write_text(lines, encoding=encoding)
        verdict = compare_files(tmp_path/"utf8.csv", tmp_path/f"{encoding}.csv")
        assert {c: v.effect for c, v in verdict.columns.items()} == {"name": 0, "größe": 0} and verdict.columns["größe"].type == "number" and said in " ".join(verdict.windows["current"].told)


def test_names_that_are_markup(tmp_path):
    odd = {"<script>alert(1)</script>": x, "</title>": x, "a\nb": x, "\u202egnp": x, "": x, "x"*10_000: x}
    pl.DataFrame(odd).write_parquet(tmp_path/"was.parquet")
    pl.DataFrame({k: v + 3 for k, v in odd.items()}).write_parquet(tmp_path/"now.parquet")
    verdict = compare_files(tmp_path/"was.parquet", tmp_path/"now.parquet")
    text = page(verdict, "<script>")
    assert len(verdict.columns) == 6 and "<script" not in text and "&lt;/title&gt;" in text and text.count("<title>&lt;script&gt;</title>") == 1 and len(text) < 300_000


def test_a_contract_and_columns_that_it_does_not_fit():
    table = pl.DataFrame({"x": x, "t": pl.Series(range(n)).cast(pl.Time), "u": pl.Series(range(n)).cast(pl.Duration("us")), "late": [0, 1]*(n//2)})
    contract = learn(pl.DataFrame({"x": x, "t": table["t"].cast(pl.String), "u": range(n), "late": table["late"]}), target="late", dtypes={"t": "category"}, roles={"t": "feature", "u": "feature"})
    assert set(Profile.of(table, contract=contract).columns) == {"x", "t", "u", "late"}
    with pytest.raises(DataError, match="no number"): Profile.of(table.with_columns(x=pl.lit("many")), contract=contract)
