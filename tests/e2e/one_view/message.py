"""A request as bytes, in HTTP/1.1 and as fields for HTTP/2."""

from dataclasses import dataclass, field


@dataclass
class Request:
    """What is sent. Everything is bytes, because most of it is meant to be wrong."""

    kind: str
    method: bytes
    target: bytes
    host: bytes
    headers: list = field(default_factory=list)
    body: bytes | None = None

    def http1(self):
        lines = [self.method + b" " + self.target + b" HTTP/1.1", b"Host: " + self.host]
        lines += [name + b": " + value for name, value in self.headers]
        if self.body is not None:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + (self.body or b"")

    def http2(self):
        """Fields in the order that RFC 9113 section 8.3 asks for; names in lower case, as it asks for too."""
        pseudo = [(b":method", self.method), (b":scheme", b"http"), (b":authority", self.host), (b":path", self.target)]
        return pseudo + [(name.lower(), value) for name, value in self.headers if name.lower() != b"connection"]

    def __str__(self):
        return f"{self.kind}: {self.http1()!r}"
