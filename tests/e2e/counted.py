"""A gateway of the release build under callgrind, which counts the instructions of requests.

Counts repeat however busy the machine is. They are of the program alone, without the kernel.
"""

import base64
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support import ALICE, TORWART, EndToEnd, port_open, wait_until

ORGANIZATION = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02"


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Upstream(threading.Thread):
    """Answers every request with the same kibibyte, without looking at it."""

    ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\nX-Upstream: yes\r\n\r\n" + b"x" * 1024

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        received = b""
        while piece := connection.recv(65536):
            *whole, received = (received + piece).split(b"\r\n\r\n")
            for _ in whole:
                connection.sendall(self.ANSWER)


class Counted(EndToEnd):
    """Gateways one after the other, an upstream behind them, and tokens that they accept."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = cls.key.public_key().public_numbers()
        bytes_of = lambda number: encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        key_set = {"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": bytes_of(numbers.n), "e": bytes_of(numbers.e)}]}
        (cls.directory / "keys.json").write_text(json.dumps(key_set))
        cls.upstream_port = cls.start_upstream()

    @classmethod
    def start_upstream(cls):
        upstream = Upstream()
        upstream.start()
        return upstream.port

    @classmethod
    def issuer(cls, name, said):
        return {key: value for key, value in super().issuer(name, said).items() if value is not None}

    @classmethod
    def configure(cls, policies):
        """The configuration of a gateway with these policies: its path."""
        issuer = {"preset": None, "issuer": "https://issuer.example.com", "jwks_file": "keys.json", "environment": None,
                  "client_credentials_when": "client_equals_subject", "claims": {"organizations": "org_uids"}}
        # All connections come from here, and counting takes its time.
        limits = "limits: {connections_per_address: 10000, idle_timeout: 10m}\n"
        cls.write_gateway({"api": cls.upstream_port}, policies, {"idp": issuer}, limits)
        # What is written while requests are counted is not among what the gateway watches.
        watched = cls.directory / "watched"
        shutil.rmtree(watched, ignore_errors=True)
        shutil.copytree(cls.directory / "policies", watched / "policies")
        for name in ("server.pem", "server.key", "keys.json"):
            shutil.copy(cls.directory / name, watched)
        text = (cls.directory / "torwart.yaml").read_text()
        path = watched / "torwart.yaml"
        path.write_text(text.replace("workers: 2", "workers: 1").replace("audit.jsonl", f"{cls.directory}/audit.jsonl"))
        return path

    @classmethod
    def start_counted(cls, policies):
        """A gateway with these policies."""
        path = cls.configure(policies)
        cls.counts = cls.directory / f"counts-{cls.port}"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={cls.counts}", "--instr-atstart=no",
                   TORWART, "run", "--config", path]
        cls.gateway = cls.start("torwart", command)
        try:
            wait_until(lambda: port_open(cls.port) or cls.gateway.process.poll(), "the gateway under callgrind", 120)
        except AssertionError:
            raise AssertionError(cls.gateway.output()) from None

    def connect(self):
        context = ssl.create_default_context(cafile=self.directory / "ca.pem")
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname="api.example.com")

    def token(self, number=0):
        claims = {"iss": "https://issuer.example.com", "aud": "https://api.example.com", "sub": ALICE, "client_id": "app", "scope": "crm orders",
                  "org_uids": [ORGANIZATION], "exp": int(time.time()) + 3600, "jti": f"{number:08}"}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one", "typ": "at+jwt"}, claims))
        return f"{signed}.{encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def receive(self, connection):
        piece = connection.recv(65536)
        self.assertTrue(piece, "the connection was closed")
        return piece

    def ask_over(self, connection, path, token, status=200):
        request = f"GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAccept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.receive(connection)
        head, body = answer.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(body) < length:
            body += self.receive(connection)
        self.assertEqual(int(head.split()[1]), status, head)

    def count(self, requests):
        """Instructions for each request; `requests` are functions that make one each."""
        control = lambda *what: subprocess.run(["callgrind_control", *what, str(self.gateway.process.pid)], check=True, capture_output=True)
        before = set(self.directory.glob(f"{self.counts.name}.*"))
        control("-i", "on")
        for request in requests:
            request()
        control("-i", "off")
        control("-d")
        (dump,) = wait_until(lambda: set(self.directory.glob(f"{self.counts.name}.*")) - before, "what callgrind counted")
        total = wait_until(lambda: re.search(r"^totals: (\d+)", dump.read_text(), re.M), "the sum")
        return round(int(total[1]) / len(requests))
