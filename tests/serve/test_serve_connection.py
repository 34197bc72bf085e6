"""Slow and broken clients do not hold a connection for ever, and their heads do not grow for ever."""
import asyncio
import json
import socket

import pytest
import uvicorn

from model_ops.serve.connection import LONGEST_HEAD, limited

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def big(scope, receive, send):
    "Answers with as many bytes as the address says."
    body = b"x" * int(scope["path"][1:] or 5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def during(client, patience=0.25):
    "What a client sees of a server with this patience, and the connections that are left."
    async def both():
        server = uvicorn.Server(uvicorn.Config(big, port=0, http=limited(patience), lifespan="off", log_config=None, log_level="critical"))
        serving = asyncio.create_task(server._serve())
        while not server.started: await asyncio.sleep(0.01)
        found = await asyncio.wait_for(client(server.servers[0].sockets[0].getsockname()[1]), 60)
        for _ in range(200):
            if not server.server_state.connections: break
            await asyncio.sleep(0.01)
        left = len(server.server_state.connections)
        server.should_exit = True
        await serving
        return found, left
    return asyncio.run(both())


async def talk(port, *pieces, pause=0.0):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(pause)
    found = await reader.read()
    writer.close()
    return found


@pytest.mark.parametrize("pieces, status", [((), 408), ((ASK[:7],), 408), ((ASK, ASK[:9]), 408), ((b"\x16\x03\x01nonsense\r\n\r\n",), 400), ((b"GET /" + b"a" * (LONGEST_HEAD + 10),), 431),
                                            ((ASK[:-2] + b"a: " + b"b" * LONGEST_HEAD,), 431)], ids=["silent", "half", "second-half", "not-http", "long-address", "long-header"])
def test_a_bad_head_is_refused_in_the_form_of_all_refusals(pieces, status):
    said, left = during(lambda port: talk(port, *pieces, pause=0.05))
    head, _, body = said.rpartition(b"\r\n\r\n")
    assert b"application/problem+json" in head and json.loads(body)["status"] == status and left == 0


def test_a_head_in_drips_does_not_stretch_the_time():
    async def drip(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.create_task(reader.read())
        for byte in ASK[:-2] + b"a: " + b"b" * 400:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if answer.done(): break
        writer.close()
        return await answer
    said, left = during(drip)
    assert b" 408 " in said and left == 0


def test_a_client_that_does_not_read_is_given_up():
    async def deaf(port):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", port))
            one.sendall(b"GET /50000000 HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.sleep(0.8)
            found = 0
            one.settimeout(2)
            try:
                while more := one.recv(1 << 20): found += len(more)
            except OSError: pass
            return found
    found, left = during(deaf)
    assert found < 50_000_000 and left == 0


def test_who_behaves_is_not_disturbed():
    async def pauses(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = []
        for _ in range(3):
            writer.write(ASK)
            head = await reader.readuntil(b"\r\n\r\n")
            found.append((head.split()[1], await reader.readexactly(5)))
            await asyncio.sleep(0.35)
        writer.close()
        return found
    assert during(pauses)[0] == [(b"200", b"xxxxx")] * 3
