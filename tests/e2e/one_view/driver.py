"""Sends requests over connections that are kept, and reads the answers; nothing of a client library tidies up what is sent."""

import socket
from dataclasses import dataclass

TIMEOUT = 20


@dataclass
class Answer:
    """An answer; `passed` tells that an upstream gave it, because the gateway adds `Via` to those only."""

    status: int
    passed: bool
    body: bytes


class Closed(Exception):
    """The connection ended before an answer was whole."""


class Http1:
    """One connection, opened anew when the other side has closed it."""

    def __init__(self, port):
        self.port, self.socket, self.buffer = port, None, b""

    def ask(self, request):
        """An answer, or `None` where the connection was closed without one."""
        data = request.http1()
        for _ in range(2):
            fresh = self.socket is None
            if fresh:
                self.socket, self.buffer = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT), b""
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.socket.sendall(data)
                return self.read(request.method)
            except (Closed, ConnectionError):
                self.close()
                if fresh:
                    return None
        return None

    def read(self, method):
        while True:
            while (end := self.buffer.find(b"\r\n\r\n")) < 0:
                self.more()
            head, self.buffer = self.buffer[:end], self.buffer[end + 4:]
            status = int(head[9:12])
            if status >= 200:
                break
        lowered = head.lower() + b"\r\n"
        length = field(lowered, b"content-length")
        if method == b"HEAD" or status in (204, 304):
            body = b""
        elif field(lowered, b"transfer-encoding") is not None:
            body = self.chunked()
        elif length is not None:
            body = self.take(int(length))
        else:
            body = self.rest()
        answer = Answer(status, field(lowered, b"via") is not None, body)
        if self.buffer:
            answer.body += b"\nextra=an answer that nobody asked for\n"
        if self.socket and (field(lowered, b"connection") == b"close" or self.buffer or head.startswith(b"HTTP/1.0")):
            self.close()
        return answer

    def chunked(self):
        body = b""
        while True:
            while (end := self.buffer.find(b"\r\n")) < 0:
                self.more()
            size, self.buffer = int(self.buffer[:end].split(b";")[0], 16), self.buffer[end + 2:]
            body += self.take(size)
            self.take(2)
            if size == 0:
                return body

    def rest(self):
        while True:
            try:
                self.more()
            except Closed:
                body, self.buffer = self.buffer, b""
                self.close()
                return body

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Closed
        self.buffer += data

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None


def field(head, name):
    """The value of a header in a lower-cased head."""
    at = head.find(b"\r\n" + name + b":")
    return None if at < 0 else head[at + len(name) + 3:head.index(b"\r\n", at + 2)].strip()


class Http2:
    """One connection of HTTP/2 without TLS (RFC 9113 section 3.3), one request after the other."""

    def __init__(self, port):
        self.port, self.socket, self.streams = port, None, 0

    def open(self):
        import h2.config
        import h2.connection
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False))
        self.connection.initiate_connection()
        self.streams = 0

    def ask(self, request):
        import h2.exceptions
        for _ in range(2):
            fresh = self.socket is None
            if fresh:
                self.open()
            try:
                answer = self.exchange(request)
                if self.streams > 500:
                    self.close()
                return answer
            except (Closed, ConnectionError, h2.exceptions.ProtocolError):
                self.close()
                if fresh:
                    return None
        return None

    def exchange(self, request):
        import h2.events
        stream = self.connection.get_next_available_stream_id()
        self.streams += 1
        self.connection.send_headers(stream, request.http2(), end_stream=request.body is None)
        if request.body is not None:
            self.connection.send_data(stream, request.body, end_stream=True)
        self.socket.sendall(self.connection.data_to_send())
        status, passed, body = 0, False, b""
        while True:
            data = self.socket.recv(65536)
            if not data:
                raise Closed
            for event in self.connection.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    self.close()
                    return Answer(status, passed, body) if status else None
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    fields = dict(event.headers)
                    status, passed = int(fields[b":status"]), b"via" in fields
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamReset):
                    return Answer(status or 400, False, body)
                elif isinstance(event, h2.events.StreamEnded):
                    self.flush()
                    return Answer(status, passed, body)
            self.flush()

    def flush(self):
        data = self.connection.data_to_send()
        if data and self.socket:
            self.socket.sendall(data)

    def close(self):
        if self.socket:
            self.socket.close()
            self.socket = None
