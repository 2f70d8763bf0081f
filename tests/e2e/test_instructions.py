"""Counts what one request costs in instructions of the release build, and compares with instructions.json.

Counts repeat however busy the machine is, so a change that makes requests dearer is found where times would say nothing. They
are of the program alone, without the kernel. `TORWART_INSTRUCTIONS=keep` writes down what is counted as what is expected.
"""

import base64
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from support import ALICE, HERE, TORWART, EndToEnd, free_port, port_open, unittest, wait_until

EXPECTED = HERE / "instructions.json"
# What the same build may differ from itself, and a change from what is written down.
MOST = 1.05
LEAST = 0.95
REQUESTS = 300

# The route that is asked for, behind a hundred of its kind.
ROUTES = "".join(f'  - {{path: "/orders-{number}/{{order}}", methods: [GET], unbound: [order], require: {{scope: orders}}}}\n' for number in range(100))
POLICY = f"""\
version: 1
policy: crm
hosts: [api.example.com]
upstream: api
routes:
  - {{path: /public, methods: [GET], require: public}}
  - {{path: /data, methods: [GET], require: {{scope: "crm"}}}}
  - path: "/customers/{{customer}}/contracts/{{contract}}"
    methods: [GET]
    params: {{customer: uuid, contract: int}}
    unbound: [contract]
    require: {{scope: "crm", subject: "{{customer}}"}}
  - {{path: /lists, methods: [GET], require: {{scope: "crm", organization: "{{query.org_uid}}"}}}}
  - {{path: /forbidden, methods: [GET], require: {{scope: "admin"}}}}
{ROUTES}"""

ORGANIZATION = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02"
# What is asked, and the status that answers it.
HOT = {
    "public": ("/public", 200),
    "token and scope": ("/data", 200),
    "one of a hundred routes": ("/orders-99/4711", 200),
    "subject in the path": (f"/customers/{ALICE}/contracts/4711", 200),
    "organisation in a parameter": (f"/lists?page=2&org_uid={ORGANIZATION}&sort=name", 200),
    "an encoded path": ("/customers/%35f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts/%34711", 200),
    "refused": ("/forbidden", 403),
}
COLD = "a token seen for the first time"


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


class Instructions(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = cls.key.public_key().public_numbers()
        bytes_of = lambda number: encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        key_set = {"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", "n": bytes_of(numbers.n), "e": bytes_of(numbers.e)}]}
        (cls.directory / "keys.json").write_text(json.dumps(key_set))
        upstream = Upstream()
        upstream.start()
        issuer = {"preset": None, "issuer": "https://issuer.example.com", "jwks_file": "keys.json", "environment": None,
                  "client_credentials_when": "client_equals_subject", "claims": {"organizations": "org_uids"}}
        cls.write_gateway({"api": upstream.port}, {"crm.yaml": POLICY}, {"idp": issuer})
        path = cls.directory / "torwart.yaml"
        path.write_text(path.read_text().replace("workers: 2", "workers: 1"))
        cls.counts = cls.directory / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={cls.counts}", "--instr-atstart=no",
                   TORWART, "run", "--config", path]
        cls.gateway = cls.start("torwart", command)
        try:
            wait_until(lambda: port_open(cls.port) or cls.gateway.process.poll(), "the gateway under callgrind", 120)
        except AssertionError:
            raise AssertionError(cls.gateway.output()) from None
        context = ssl.create_default_context(cafile=cls.directory / "ca.pem")
        cls.connection = context.wrap_socket(socket.create_connection(("127.0.0.1", cls.port)), server_hostname="api.example.com")
        cls.found = {}

    @classmethod
    def issuer(cls, name, said):
        return {key: value for key, value in super().issuer(name, said).items() if value is not None}

    def token(self, number):
        claims = {"iss": "https://issuer.example.com", "aud": "https://api.example.com", "sub": ALICE, "client_id": "app", "scope": "crm orders",
                  "org_uids": [ORGANIZATION], "exp": int(time.time()) + 3600, "jti": f"{number:08}"}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "one", "typ": "at+jwt"}, claims))
        return f"{signed}.{encoded(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def ask(self, path, token, status):
        request = f"GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAccept: application/json\r\nAuthorization: Bearer {token}\r\n\r\n"
        self.connection.sendall(request.encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.connection.recv(65536)
        head, body = answer.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(body) < length:
            body += self.connection.recv(65536)
        self.assertEqual(int(head.split()[1]), status, head)

    def count(self, path, tokens, status):
        """Instructions for each request of a list, one token each."""
        control = lambda *what: subprocess.run(["callgrind_control", *what, str(self.gateway.process.pid)], check=True, capture_output=True)
        before = set(self.directory.glob("counts.*"))
        control("-i", "on")
        for token in tokens:
            self.ask(path, token, status)
        control("-i", "off")
        control("-d")
        (dump,) = wait_until(lambda: set(self.directory.glob("counts.*")) - before, "what callgrind counted")
        total = wait_until(lambda: re.search(r"^totals: (\d+)", dump.read_text(), re.M), "the sum")
        return round(int(total[1]) / len(tokens))

    def test_a_request_costs_what_is_written_down(self):
        hot = self.token(0)
        for name, (path, status) in HOT.items():
            for _ in range(30):
                self.ask(path, hot, status)
            self.found[name] = self.count(path, [hot] * REQUESTS, status)
        self.found[COLD] = self.count("/data", [self.token(number + 1) for number in range(100)], 200)
        print(json.dumps(self.found, indent=2))
        if os.environ.get("TORWART_INSTRUCTIONS") == "keep":
            EXPECTED.write_text(json.dumps(self.found, indent=2) + "\n")
        expected = json.loads(EXPECTED.read_text())
        self.assertEqual(list(expected), list(self.found))
        dearer = {name: (count, expected[name]) for name, count in self.found.items() if count > expected[name] * MOST}
        self.assertEqual(dearer, {}, "dearer than instructions.json says: counted and expected")
        cheaper = [name for name, count in self.found.items() if count < expected[name] * LEAST]
        if cheaper:
            print(f"cheaper than {EXPECTED.name} says, write it down with TORWART_INSTRUCTIONS=keep: {', '.join(cheaper)}")


if __name__ == "__main__":
    unittest.main()
