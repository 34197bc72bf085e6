"""How fast is the server, beside others that serve the same model? Printed as a Markdown table.

    python benchmarks/serve_speed.py                  # all servers, about five minutes; in a workbook with a champion (model-ops run)
    python benchmarks/serve_speed.py --only bare,ours # servers whose name has one of these words
    python benchmarks/serve_speed.py --seconds 10 --times 3

The server has the first core of the machine for itself, the load the second. All answer the same rows of the test window, sent as MLflow's
`dataframe_records`; several hundred different ones take turns. `wrk` asks as fast as it is answered, by 8 and by 64 connections.
"at 200/s" sends at fixed times, whether or not the last answer has come, and counts from the time at which the request was due, so that a
server that stands still is seen. gRPC is asked from Python with messages made before, 64 at a time: a slower client than wrk.
"bare" is one function around the same predictor, without contract, log, limits or telemetry: what is left to gain.
"""
import argparse
import asyncio
import json
import math
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from model_ops.package.predictor import Predictor
from model_ops.registry.cycle import package_in_charge
from model_ops.serve import process
from model_ops.serve.schema import SERVICE, messages
from model_ops.settings import Settings

BIN, PEERS = Path(sys.executable).parent, Path(__file__).parent / "peers"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
QUIET = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(PEERS), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
SCRIPT = """
local requests, turn, bodies = {}, 0, {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
wrk.method, wrk.headers["Content-Type"] = "POST", "application/json"
init = function() for i, body in ipairs(bodies) do requests[i] = wrk.format(nil, nil, nil, body) end end
request = function() turn = turn % #requests + 1; return requests[turn] end
"""


@dataclass(frozen=True)
class Load:
    "What the servers are asked with."
    folder: Path
    columns: dict[str, str]  # input → type of the contract
    rows: list[dict]

    def bodies(self, rows: int) -> Path:
        "A file of JSON bodies with so many rows each, one a line."
        path = self.folder / f"bodies{rows}"
        if not path.exists():
            parts = [self.rows[i:i + rows] for i in range(0, min(len(self.rows), 400 * rows) - rows + 1, rows)]
            path.write_text("\n".join(json.dumps({"dataframe_records": part}) for part in parts))
        return path

    def messages(self, rows: int, model: str) -> list[bytes]:
        "The same as messages of gRPC: a tensor a column."
        made, kinds = messages(), {"integer": ("INT64", "int64_contents", int), "number": ("FP64", "fp64_contents", float), "boolean": ("BOOL", "bool_contents", bool)}
        found = []
        for i in range(0, min(len(self.rows), 400 * rows) - rows + 1, rows):
            ask = made.ModelInferRequest(model_name=model)
            for name, dtype in self.columns.items():
                values = [row[name] for row in self.rows[i:i + rows]]
                datatype, field, kind = kinds.get(dtype, ("BYTES", "bytes_contents", lambda text: str(text or "").encode()))
                if datatype != "BYTES" and None in values: datatype, field, kind = "FP64", "fp64_contents", lambda number: float("nan") if number is None else float(number)
                tensor = ask.inputs.add(name=name, datatype=datatype, shape=[len(values)])
                getattr(tensor.contents, field).extend(map(kind, values))
            found.append(ask.SerializeToString())
        return found


@contextmanager
def on_core(core: int):
    "What is started meanwhile runs on this core of those that the process has; nothing where the system cannot say."
    if CORES: os.sched_setaffinity(0, {CORES[core % len(CORES)]})
    try: yield
    finally:
        if CORES: os.sched_setaffinity(0, CORES)


def prepared(folder: Path, rows: int = 40_000) -> tuple[Settings, Path, Load]:
    "A workbook with the ledger and the champion of this one; the champion's package; rows of the test window."
    here = Settings.load()
    package = package_in_charge(0, here)
    inputs = {i.name: i.dtype for i in Predictor.open(package, here.trusted).manifest.inputs}
    book = folder / "book"
    (book / "store").mkdir(parents=True)
    shutil.copytree(package, book / "store" / package.name)
    shutil.copy(here.ledger_url.removeprefix("sqlite:///"), book / "ledger.db")
    (book / "settings.ini").write_text(f"[workbook]\nname = {here.name}\nnoun = {here.noun}\n[registry]\nmodel = {here.model}\n")
    table = pl.read_parquet(here.path("data", "test.parquet"), n_rows=rows, columns=list(inputs))
    return Settings.load(book), book / "store" / package.name, Load(folder, inputs, json.loads(table.write_json()))


def free_port() -> int:
    "A port that nobody has at this moment."
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def program(words: list, port: int, path: str, package: str = ""):
    "A server of others, until it answers; everything that it started ends with it."
    with on_core(0): child = subprocess.Popen([str(w) for w in words], env={**os.environ, **QUIET, "PACKAGE": package}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).read()
                break
            except OSError:
                if child.poll() is not None or time.monotonic() > until: sys.exit(f"{' '.join(map(str, words))} does not serve.")
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}", ""
    finally:
        with suppress(ProcessLookupError): os.killpg(child.pid, 15)
        child.wait(30)


@contextmanager
def ours(settings: Settings, **told):
    "Our server, as its settings say and as it is told otherwise; each time with an empty log."
    folder = Path(tempfile.mkdtemp(dir=settings.root))
    with on_core(0): running = process.start(settings, folder=folder, **told)
    try: yield running.url, running.grpc
    finally:
        running.stop()
        shutil.rmtree(folder)


def servers(settings: Settings, package: Path) -> dict[str, Callable]:
    "Name → what starts it."
    folder = str(package)
    def mlflow(port: str): return program([BIN / "mlflow", "models", "serve", "-m", folder, "--env-manager", "local", "--port", port, "--workers", 1], port, "/ping")
    def uvicorn(port: str, *package: str): return program([BIN / "uvicorn", "bare:app", "--port", port, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "error"], port, "/", *package)
    def granian(port: str, *package: str): return program([BIN / "granian", "--interface", "asgi", "--port", port, "--workers", 1, "--no-ws", "--log-level", "error", "bare:app"], port, "/", *package)
    found = {
        "mlflow models serve": lambda: mlflow(free_port()),
        "empty handler on uvicorn": lambda: uvicorn(free_port()),
        "empty handler on granian": lambda: granian(free_port()),
        "bare ONNX on uvicorn": lambda: uvicorn(free_port(), folder),
        "bare ONNX on granian": lambda: granian(free_port(), folder),
        "ours": lambda: ours(settings),
        "ours without log": lambda: ours(settings, durability="off"),
        "ours without live drift": lambda: ours(settings, live=False),
        "ours with the log after the answer": lambda: ours(settings, durability="async"),
    }
    return {name: start for name, start in found.items() if "granian" not in name or (BIN / "granian").exists()}


def wrk(url: str, bodies: Path, connections: int, seconds: float, script: Path) -> tuple[float, float]:
    "Requests a second, and the 99th percentile of the latency in ms."
    with on_core(1): done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "20s", "--latency", "-s", script, url], env={**os.environ, "BODIES": str(bodies)}, capture_output=True, text=True, check=True)
    if wrong := re.search(r"Non-2xx or 3xx responses: .*|Socket errors: .*", done.stdout): print(f"{url}: {wrong[0]}", file=sys.stderr)
    rate, (tail, unit) = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1], re.search(r"99%\s+([\d.]+)(\w+)", done.stdout).groups()
    return float(rate), float(tail) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[unit]


async def paced(url: str, bodies: list[bytes], rate: float, seconds: float, connections: int = 16) -> list[float]:
    "Latencies in ms of requests that are due at fixed times, counted from then."
    host, port, path = re.fullmatch(r"http://([\d.]+):(\d+)(/.*)", url).groups()
    asks = [f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(b)}\r\n\r\n".encode() + b for b in bodies]
    links, found = asyncio.Queue(), []
    for _ in range(connections): links.put_nowait(await asyncio.open_connection(host, int(port)))
    async def one(k: int, due: float) -> None:
        reader, writer = link = await links.get()
        writer.write(asks[k % len(asks)])
        head = await reader.readuntil(b"\r\n\r\n")
        if head[9:12] != b"200": raise RuntimeError(head.decode())
        if length := re.search(rb"(?i)content-length: (\d+)", head): await reader.readexactly(int(length[1]))
        else:
            while (size := int(await reader.readline(), 16)): await reader.readexactly(size + 2)
            await reader.readline()
        found.append(1e3 * (time.perf_counter() - due))
        links.put_nowait(link)
    begin, waiting = time.perf_counter() + 0.05, set()
    for k in range(int(rate * seconds)):
        if (wait := begin + k / rate - time.perf_counter()) > 0: await asyncio.sleep(wait)
        waiting.add(asyncio.create_task(one(k, begin + k / rate)))
    await asyncio.gather(*waiting)
    while not links.empty(): links.get_nowait()[1].close()
    return found


async def grpc_rate(address: str, asks: list[bytes], seconds: float, at_once: int = 64) -> float:
    "Answers a second over gRPC."
    import grpc
    done, until = 0, time.perf_counter() + seconds
    async with grpc.aio.insecure_channel(address) as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        async def ask(k: int) -> None:
            nonlocal done
            while time.perf_counter() < until:
                await infer(asks[k % len(asks)])
                k, done = k + at_once, done + 1
        await asyncio.gather(*(ask(k) for k in range(at_once)))
    return done / seconds


def sync_ms(folder: Path, times: int = 300) -> float:
    "The median time in ms that this disk takes to make 4 kB durable."
    found = []
    with open(folder / "probe", "wb", buffering=0) as file:
        for _ in range(times):
            file.write(os.urandom(4096))
            start = time.perf_counter()
            getattr(os, "fdatasync", os.fsync)(file.fileno())
            found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(found)


def measure(start: Callable, load: Load, settings: Settings, seconds: float, script: Path) -> dict[str, float]:
    "One server, started, asked in all ways, and ended."
    begun = time.perf_counter()
    with start() as (url, grpc):
        found = {"start s": time.perf_counter() - begun}
        quick = wrk(url + "/invocations", load.bodies(1), 8, 1, script)[0] > 400  # and warm
        for rows in (1, 100) if quick else ():  # before the server is driven as far as it goes: what it has to settle afterwards would be counted here
            with on_core(1): late = asyncio.run(paced(url + "/invocations", load.bodies(rows).read_bytes().splitlines(), 200, seconds))
            found[f"{rows} at 200/s p99"] = statistics.quantiles(late, n=100)[98]
        for rows, connections in ((1, 8), (1, 64), (100, 8), (100, 64)):
            found[f"{rows}×{connections}"], found[f"{rows}×{connections} p99"] = wrk(url + "/invocations", load.bodies(rows), connections, seconds, script)
        if grpc:
            with on_core(1):
                for rows in (1, 100): found[f"gRPC {rows}×64"] = asyncio.run(grpc_rate(grpc, load.messages(rows, settings.model), seconds))
    return found


COLUMNS = ["start s", "1×8", "1×8 p99", "1×64", "1×64 p99", "100×8", "100×64", "1 at 200/s p99", "100 at 200/s p99", "gRPC 1×64", "gRPC 100×64"]


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="servers whose name has one of these words, with commas between")
    words.add_argument("--seconds", type=float, default=4, help="of each measurement")
    words.add_argument("--times", type=int, default=1, help="rounds over all servers; medians are printed")
    words.add_argument("--json", type=Path, help="write the rows here")
    told = words.parse_args()
    if not shutil.which("wrk"): sys.exit("wrk makes the load: apt-get install wrk")
    found: dict[str, list[dict]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-ops-serve-")))
        settings, package, load = prepared(folder)
        (script := folder / "load.lua").write_text(SCRIPT)
        chosen = {name: start for name, start in servers(settings, package).items() if any(word in name for word in told.only.split(","))}
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, fdatasync {sync_ms(folder):.2f} ms, load {os.getloadavg()[0]:.1f}; {settings.model} with {len(load.columns)} columns\n")
        print(f"| requests/s by rows×connections | {' | '.join(COLUMNS)} |\n| --- {'| ---: ' * len(COLUMNS)}|")
        for turn in range(told.times):
            for name, start in chosen.items():
                found.setdefault(name, []).append(measure(start, load, settings, told.seconds, script))
                if turn == told.times - 1: print(f"| {name} | {' | '.join(_number(_middle(found[name], column)) for column in COLUMNS)} |", flush=True)
    for text in _compared({name: {c: _middle(rounds, c) for c in COLUMNS} for name, rounds in found.items()}): print(text)
    if told.json: told.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _middle(rounds: list[dict], column: str) -> float | None:
    there = [r[column] for r in rounds if column in r]
    return statistics.median(there) if there else None


def _number(value: float | None) -> str: return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _compared(rows: dict[str, dict]) -> list[str]:
    "What the table says, as far as its servers were measured."
    ours, said = rows.get("ours"), [""]
    if not ours: return said
    for other, of, aim in (("bare ONNX on uvicorn", "of the bare handler", "60 % at 64 connections"), ("mlflow models serve", "times mlflow models serve", "40 and more"),
                           ("ours without log", "of what it is without the log", "75 %"), ("ours without live drift", "of what it is without live drift", "95 %")):
        if other not in rows: continue
        shares = [ours[c] / rows[other][c] for c in ("1×8", "1×64", "100×64")]
        text = ", ".join(f"{s:.0f}" if "times" in of else f"{s:.0%}" for s in shares)
        said.append(f"{text} {of} (one row at 8 and at 64 connections, 100 rows at 64; aim: {aim})")
    return said


if __name__ == "__main__":
    sys.exit(main())
