"""Records as the server writes them, put into journals as its workers do."""
import threading
import orjson
from model_ops.predictions import journal

NEW_YEAR = 1_767_225_600_000_000  # 2026-01-01 in UTC, µs
COLUMNS = {"carrier": {"role": "feature", "dtype": "category"}, "distance": {"role": "feature", "dtype": "integer"}, "at": {"role": "time", "dtype": "datetime", "timezone": "America/New_York"},
           "flight": {"role": "id", "dtype": "integer"}, "tail": {"role": "subject", "dtype": "text"}, "late": {"role": "target", "dtype": "boolean"}}

def row(flight: int, **more) -> dict:
    "The inputs of one flight."
    return {"carrier": "UA", "distance": 100*(flight % 40), "at": "2026-01-01T05:15:00", "flight": flight, "tail": f"N{flight}", **more}

def asked(id: str, *rows: dict, at: float = 0, own: bool = True, version: str = "3", **more) -> bytes:
    "A record of one answered request, some seconds into the year."
    far = [r["distance"] if type(r.get("distance")) is int else 0 for r in rows]
    said = {"kind": "prediction", "id": id, "own": own, "at": NEW_YEAR + round(at*1e6), "version": version, "digest": "d"*64, "contract": "c"*64, "from": "invocations", "ms": 0.4, "rows": len(rows), "inputs": rows, "check": 0,
            "outputs": {"score": [d/5000 for d in far], "label": ["true" if d > 2000 else "false" for d in far]}}
    return orjson.dumps({**said, **more})

def told(*labels: dict, at: float = 0, source: str = "feedback") -> bytes:
    "A record of labels."
    return orjson.dumps({"kind": "label", "at": NEW_YEAR + round(at*1e6), "labels": labels, "source": source})

def write(folder, worker: str, *records: bytes, **how) -> None:
    "Through a journal that is closed afterwards."
    journal.describe(folder, "c"*64, COLUMNS)
    kept = journal.Journal(folder, worker, **how)
    for record in records:
        done = threading.Event()
        kept.append([record], lambda error, done=done: done.set())
        done.wait()
    kept.close()
