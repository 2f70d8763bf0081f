"""Prints the request as a WSGI application sees it; `/download/N` answers N bytes, `/upload` counts what it is sent,
`/verified` verifies the gateway's assertion with the snippet of docs/upstreams.md and prints its claims."""

import hashlib
import json
import sys
from pathlib import Path
from urllib.parse import parse_qs

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "docs/upstreams"))
from verify import Gateway, Refused


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/download/"):
        size = int(path.rsplit("/", 1)[1])
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
        return (b"\x00" * min(65536, size - at) for at in range(0, size, 65536))
    if path == "/verified":
        asked = parse_qs(environ["QUERY_STRING"])
        gateway = Gateway("https://gateway.example.com", asked["as"][0], asked["keys"][0])
        try:
            status, answer = "200 OK", gateway.verify(environ.get("HTTP_X_AUTH_ASSERTION"))
        except Refused as refused:
            status, answer = "401 Unauthorized", {"refused": str(refused)}
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]
    digest, received = hashlib.sha256(), 0
    while chunk := environ["wsgi.input"].read(65536):
        digest.update(chunk)
        received += len(chunk)
    answer = json.dumps({
        "stack": "wsgi",
        "method": environ["REQUEST_METHOD"],
        "uri": environ.get("RAW_URI", path),
        "query": environ["QUERY_STRING"],
        "protocol": environ["SERVER_PROTOCOL"],
        "headers": {name: value for name, value in environ.items() if name.startswith("HTTP_")},
        "body_bytes": received,
        "body_sha256": digest.hexdigest(),
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
