"""The least that a prediction over HTTP can cost: an ASGI application of one function, without contract, log, limits or telemetry.

    PACKAGE=FOLDER uvicorn bare:app       # JSON rows → the package's predictor → JSON
    PACKAGE=       uvicorn bare:app       # an empty answer
"""
import os

import orjson

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}
predict = None
if os.environ.get("PACKAGE"):
    from model_ops.package.predictor import Predictor
    predict = Predictor.open(os.environ["PACKAGE"]).predict


async def app(scope, receive, send):
    "Read the body, predict, answer."
    if scope["type"] != "http": return
    part = await receive()
    body = part["body"]
    while part["more_body"]: body += (part := await receive())["body"]
    said = {}
    if predict and body:
        made = predict(orjson.loads(body)["dataframe_records"])
        said = {"predictions": [{"score": score, "label": label} for score, label in zip(made.score.tolist(), made.label.tolist(), strict=True)]}
    await send(HEAD)
    await send({"type": "http.response.body", "body": orjson.dumps(said)})
