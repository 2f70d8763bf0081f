"""Prints the request as a WSGI application sees it; `/download/N` answers N bytes, `/upload` counts what it is sent."""

import hashlib
import json


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/download/"):
        size = int(path.rsplit("/", 1)[1])
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
        return (b"\x00" * min(65536, size - at) for at in range(0, size, 65536))
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
