"""The promises of the specification, asked of the program as it is shipped: exact bytes in, status out, and what the
upstream saw. One gateway, one recording upstream, one table of cases for each promise."""

import base64
import http.client
import socket
import socketserver
import threading

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from support import ALICE, BOB, EndToEnd, free_port, json, textwrap, time, unittest, wait_until

ISSUER = "https://auth.example.com"
AUDIENCE = "https://api.example.com"


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


class Keys:
    """One signing key of each kind, and tokens made with them, right and wrong."""

    def __init__(self):
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.stranger = ec.generate_private_key(ec.SECP256R1())

    def jwks(self):
        point, number = self.ec.public_key().public_numbers(), self.rsa.public_key().public_numbers()
        return {"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "e1", "use": "sig", "alg": "ES256",
             "x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))},
            {"kty": "RSA", "kid": "r1", "use": "sig", "n": b64(number.n.to_bytes(256, "big")), "e": "AQAB"},
        ]}

    def sign(self, header, payload, key=None):
        """`header` and `payload` may be text, to say what no JSON library would."""
        signed = ".".join(b64(part if isinstance(part, str) else json.dumps(part)) for part in (header, payload))
        algorithm = header["alg"] if isinstance(header, dict) else "ES256"
        key = key or (self.rsa if algorithm[:2] in ("RS", "PS") else self.ec)
        if algorithm == "HS256":
            mac = hmac.HMAC(key, hashes.SHA256())
            mac.update(signed.encode())
            signature = mac.finalize()
        elif algorithm == "none":
            signature = b""
        elif algorithm == "RS256":
            signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "PS256":
            signature = key.sign(signed.encode(), padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        else:
            r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed}.{b64(signature)}"

    def token(self, header=None, key=None, **claims):
        """A good token; a claim given as `...` is left out."""
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": ALICE, "client_id": "app", "scope": "crm contracts:read",
                   "iat": now, "exp": now + 600, **claims}
        payload = {name: value for name, value in payload.items() if value is not ...}
        head = {"alg": "ES256", "typ": "at+jwt", "kid": "e1", **(header or {})}
        return self.sign({name: value for name, value in head.items() if value is not ...}, payload, key)


class Recorder(socketserver.ThreadingTCPServer):
    """Answers every request with 200 and keeps the bytes it was sent."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        self.seen = []
        super().__init__(("127.0.0.1", 0), self.Conversation)

    class Conversation(socketserver.StreamRequestHandler):
        def handle(self):
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = self.rfile.readline()
                    if not line:
                        return
                    head += line
                lines = head.decode("latin-1").split("\r\n")
                headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]
                names = {name.lower(): value for name, value in headers}
                body = b""
                if "transfer-encoding" in names:
                    while (size := int(self.rfile.readline().split(b";")[0], 16)):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    while (line := self.rfile.readline().strip()):
                        headers.append(("trailer:" + line.decode().split(":")[0], line.decode().split(":", 1)[1]))
                elif "content-length" in names:
                    body = self.rfile.read(int(names["content-length"]))
                self.server.seen.append((lines[0], headers, body))
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok")


POLICIES = {
    "crm.yaml": """\
        version: 1
        policy: crm
        hosts: [crm.test]
        base_path: /crm
        upstream: api
        client_credentials: {bypass: [kusy]}
        routes:
          - path: /customers/{customer}/contracts
            methods: [GET, POST]
            params: {customer: uuid}
            require: {scope: contracts:read, subject: "{customer}"}
          - {path: /both, methods: [GET], require: {scope: {all_of: [contracts:read, contracts:write]}}}
          - {path: /either, methods: [GET], require: {scope: {any_of: [contracts:admin, contracts:read]}}}
          - {path: /any, methods: [GET, PUT], require: authenticated}
          - {path: /list, methods: [GET], require: {subject: "{query.customer}"}}
          - {path: /tenant, methods: [GET], require: {subject: "{header.X-Customer}"}}
          - {path: /users, methods: [GET], client_credentials: deny, require: authenticated}
          - {path: /machines, methods: [GET], require: {flow: client_credentials}}
          - {path: /people, methods: [GET], require: {flow: user}}
          - {path: /not-machine, methods: [GET], require: {not: {flow: client_credentials}}}
          - {path: /level, methods: [GET], require: {claim: {level: {equals: 1}}}}
          - {path: /level-text, methods: [GET], require: {claim: {level: {equals: "1"}}}}
          - {path: "/level/{level}", methods: [GET], require: {claim: {level: {equals: "{level}"}}}}
          - {path: /not-blocked, methods: [GET], require: {not: {claim: {blocked: {equals: true}}}}}
          - {path: /has-roles, methods: [GET], require: {claim: {roles: {contains: {any_of: [admin, root]}}}}}
          - {path: /step-up, methods: [GET], require: {authentication: {acr: [gold], max_age: 15m}}}
          - {path: /local, methods: [GET], require: {token: none, network: [127.0.0.0/8]}}
          - {path: /elsewhere, methods: [GET], require: {token: none, network: [10.0.0.0/8]}}
          - {path: /v2, methods: [GET], require: {request: {header.X-Api-Version: "2"}}}
          - {path: "/numbers/{n}", methods: [GET], params: {n: int}, unbound: [n], require: authenticated}
    """,
    "organizations.yaml": """\
        version: 1
        policy: organizations
        hosts: ["{tenant}.orgs.test"]
        upstream: api
        routes:
          - {path: "/orgs/{org}", methods: [GET], unbound: [tenant], require: {organization: "{org}"}}
          - {path: /not-in, methods: [GET], unbound: [tenant], require: {not: {organization: "{query.org}"}}}
          - {path: /global, methods: [GET], unbound: [tenant], require: {global: true}}
          - {path: /not-global, methods: [GET], unbound: [tenant], require: {not: {global: true}}}
          - {path: /local, methods: [GET], unbound: [tenant], require: {global: false}}
          - {path: /permitted, methods: [GET], unbound: [tenant], require: {permission: {all_of: [read, write]}}}
          - {path: /not-permitted, methods: [GET], unbound: [tenant], require: {not: {permission: admin}}}
          - {path: /tenant, methods: [GET], require: {subject: "{tenant}"}}
    """,
    "readings.yaml": """\
        version: 1
        policy: readings
        hosts: [readings.test]
        upstream: api
        routes:
          - {path: "/admin/{*r}", methods: [GET], unbound: [r], require: {scope: admin}}
          - {path: "/{*r}", methods: "*", unbound: [r], require: public}
    """,
    "forward.yaml": """\
        version: 1
        policy: forward
        hosts: [forward.test]
        base_path: /api
        upstream: api
        routes:
          - path: /stripped/{id}
            methods: [GET]
            unbound: [id]
            require: authenticated
            forward:
              strip_prefix: /api
              add_prefix: /v1
              headers: {X-User-Id: "{subject}", X-Team: "{claim.team}", X-Text: "id={id};{client}"}
              query: {owner: "{subject}"}
          - {path: /kept, methods: [GET], require: authenticated, forward: {authorization: keep}}
          - {path: /plain, methods: [GET], require: public}
          - {path: /none, methods: [GET], require: authenticated, forward: {identity_headers: none}}
          - {path: /some, methods: [GET], require: authenticated, forward: {identity_headers: [subject, flow]}}
          - {path: /small, methods: [POST], require: public, forward: {max_body: 10}}
    """,
    "observe.yaml": """\
        version: 1
        policy: observe
        hosts: [observe.test]
        base_path: /live
        upstream: api
        mode: observe
        routes:
          - {path: /a, methods: [GET], require: {scope: nobody-has-this}}
    """,
    "strict.yaml": """\
        version: 1
        policy: open
        hosts: [open.test]
        upstream: api
        routes:
          - {path: /hello, methods: [GET], require: public}
    """,
}


class Contract(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.keys = Keys()
        cls.upstream = Recorder()
        threading.Thread(target=cls.upstream.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.upstream.server_close)
        cls.addClassCleanup(cls.upstream.shutdown)
        cls.port, cls.admin_port = free_port(), free_port()
        (cls.directory / "jwks.json").write_text(json.dumps(cls.keys.jwks()))
        (cls.directory / "policies").mkdir()
        for name, text in POLICIES.items():
            (cls.directory / "policies" / name).write_text(textwrap.dedent(text))
        (cls.directory / "torwart.yaml").write_text(textwrap.dedent(f"""\
            version: 1
            listeners: [{{address: "127.0.0.1:{cls.port}"}}]
            admin: {{address: "127.0.0.1:{cls.admin_port}"}}
            audit: {{path: audit.jsonl}}
            issuers:
              - name: shoen
                preset: kusy
                issuer: {ISSUER}
                audiences: [{AUDIENCE}]
                jwks_file: jwks.json
                claims: {{organizations: org_uids, global: global, permissions: permissions}}
            upstreams:
              api: {{endpoints: ["http://127.0.0.1:{cls.upstream.server_address[1]}"]}}
            """))
        cls.start_gateway()
        cls.wait_ready()

    def raw(self, data, half_close=False):
        """Sends exact bytes; what came back until the other side closed or was silent for a second."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
            if half_close:
                client.shutdown(socket.SHUT_WR)
            client.settimeout(1.0)
            received, closed = b"", False
            try:
                while chunk := client.recv(65536):
                    received += chunk
                closed = True
            except (TimeoutError, socket.timeout):
                pass
            except ConnectionResetError:
                closed = True
        return received, closed

    def request(self, host, target, token=None, method="GET", headers=(), body=None):
        """One request whose target is sent exactly as given. The status, the headers, and what arrived upstream."""
        self.upstream.seen.clear()
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        received, _ = self.raw("\r\n".join(lines) + "\r\n\r\n" + (body or ""))
        self.assertTrue(received.startswith(b"HTTP/1."), f"{lines[0]!r} was answered {received!r}")
        head = received.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        names = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            names[name.lower()] = value.strip()
        self.body = received.partition(b"\r\n\r\n")[2]
        return int(head[0].split(" ")[1]), names, list(self.upstream.seen)

    def expect(self, status, *arguments, **more):
        got, names, seen = self.request(*arguments, **more)
        self.assertEqual(got, status, f"{arguments} {more}: {names} {self.body!r}")
        self.assertEqual(len(seen), 1 if status == 200 else 0, f"{arguments}: the upstream saw {seen}")
        return names, seen

    def test_targets_are_canonical_or_refused(self):
        forwarded = {
            "/hello": "/hello", "/%68ello": "/hello", "/a%2fb": "/a%2Fb", "/a//b///c": "/a/b/c", "/~x": "/~x", "/%7ex": "/~x",
            "/a+b": "/a+b", "/a%c3%a9": "/a%C3%A9", "/a?x=%zz&y": "/a?x=%zz&y", "/a?": "/a?", "/a/": "/a/", "/a;b=c": "/a;b=c",
            "/a|b": "/a%7Cb", '/a"b': "/a%22b", "/a{b}": "/a%7Bb%7D", "/a[b]": "/a%5Bb%5D",
            "http://readings.test/abs": "/abs", "http://READINGS.test:80/abs": "/abs", "/...": None, "/a/..b": "/a/..b",
            "/.a": "/.a", "/a=b&c,d!e$f'(g)*": "/a=b&c,d!e$f'(g)*", "/a@b:c": "/a@b:c",
        }
        for target, expected in forwarded.items():
            with self.subTest(target):
                if expected is None:
                    self.expect(400, "readings.test", target)
                    continue
                # Characters that the HTTP library itself refuses in a target may be refused instead of encoded.
                status, _, seen = self.request("readings.test", target)
                if any(character in target for character in '"<>^`') and status == 400:
                    continue
                self.assertEqual((status, seen and seen[0][0]), (200, f"GET {expected} HTTP/1.1"))
        refused = ["/a/../b", "/a/./b", "/..", "/.", "/%2e%2e/b", "/a/%2E/b", "/.%2e/x", "/a\\b", "/a%00", "/a%0a", "/a%7f", "/a%zz", "/a%",
                   "/a%4", "/%u0041", "/a%ff", "/a%c3", "/a%c0%af", "/a\xc3\xa9", "http://other.test/a", "a", "a:80", "*", "//../x", "/a?x#y z",
                   "/%2e%2e%2fetc", "/a%5c..%5cb", "/x/..;/admin", "/a/..%2f..%2f", "/a%2f%2e%2e%2fb"]
        for target in refused:
            with self.subTest(target):
                self.expect(400, "readings.test", target)

    def test_second_readings(self):
        for target in ("/ADMIN/x", "/admin./x", "/admin;x/y", "/admin%2Fx", "/%2561dmin/x", "/x/..;/admin", "/Admin", "/admin%20/x", "/admin%3Bx/y",
                       "/admin%5Cx", "/adm%2569n/x", "/%2541dmin/x", "/ADMIN;x", "/admin%252Fx", "/x%2F..%2Fadmin", "/a%2F%2E%2E%2Fadmin"):
            with self.subTest(target):
                self.expect(400, "readings.test", target)
                self.expect(400, "readings.test", target, self.keys.token(scope="admin"))
        for target in ("/shop/a;jsessionid=1", "/shop/ACME%20Ltd.", "/Shop/Item", "/a%2Fb", "/administrators", "/shop/admin"):
            with self.subTest(target):
                self.expect(200, "readings.test", target)
        for target in ("/admin", "/admin/", "/admin/x/y"):
            with self.subTest(target):
                self.expect(401, "readings.test", target)
                self.expect(403, "readings.test", target, self.keys.token())
                self.expect(200, "readings.test", target, self.keys.token(scope="admin"))

    def test_methods(self):
        for method in ("TRACE", "TRACK", "CONNECT"):
            self.expect(405 if method != "CONNECT" else 405, "readings.test", "/x" if method != "CONNECT" else "readings.test:80", method=method)
        self.expect(200, "readings.test", "/x", method="DELETE")
        self.expect(405, "readings.test", "/x", self.keys.token(), method="PROPFIND")
        self.expect(405, "readings.test", "/x", self.keys.token(), method="get")
        names, _ = self.expect(405, "open.test", "/hello", method="POST", body="")
        self.assertEqual(sorted(part.strip() for part in names["allow"].split(",")), ["GET", "HEAD"])
        self.expect(200, "open.test", "/hello", method="HEAD")
        for header, status in (("X-HTTP-Method-Override: DELETE", 400), ("X-HTTP-Method: PUT", 400), ("X_Method_Override: POST", 400),
                               ("X-HTTP-Method-Override: GET", 200)):
            with self.subTest(header):
                _, seen = self.expect(status, "readings.test", "/x", headers=[header])
                self.assertNotIn("override", str(seen).lower())
        self.expect(400, "readings.test", "/x?_method=DELETE")
        self.expect(400, "readings.test", "/x?a=1;_method=DELETE")
        self.expect(400, "readings.test", "/x?_meth%6fd=DELETE")
        self.expect(200, "readings.test", "/x?_method=GET")
        status, _, seen = self.request("readings.test", "*", method="OPTIONS")
        self.assertIn(status, (200, 204))
        self.assertEqual(seen, [])

    def test_hosts_and_tables(self):
        self.expect(421, "unknown.test", "/")
        self.expect(200, "OPEN.test", "/hello")
        self.expect(200, "open.test.", "/hello")
        self.expect(200, "open.test:80", "/hello")
        self.expect(200, "open.test:8443", "/hello")
        self.expect(404, "open.test", "/nothing")
        for host in ("a/b@c", "", "open.test, open.test", "open.test:x", "user@open.test", "open test"):
            with self.subTest(host):
                self.expect(400, host, "/hello")
        for head in ("GET /hello HTTP/1.1\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: open.test\r\nHost: open.test\r\n\r\n",
                     "GET /hello HTTP/1.0\r\n\r\n"):
            received, _ = self.raw(head)
            self.assertTrue(received.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400")), (head, received))

    def test_unknown_routes_are_told_only_to_those_with_a_token(self):
        self.expect(401, "crm.test", "/crm/nothing")
        self.expect(404, "crm.test", "/crm/nothing", self.keys.token())
        self.expect(401, "crm.test", "/crm/any", method="DELETE")
        names, _ = self.expect(405, "crm.test", "/crm/any", self.keys.token(), method="DELETE")
        self.assertEqual(sorted(part.strip() for part in names["allow"].split(",")), ["GET", "HEAD", "PUT"])
        self.expect(401, "crm.test", "/crm/nothing", self.keys.token(exp=1))
        self.expect(404, "open.test", "/nothing")

    def test_tokens(self):
        now, good = int(time.time()), self.keys.token()
        head, payload, signature = good.split(".")
        token = self.keys.token
        bad = {
            "expired": token(exp=now - 40), "not yet valid": token(nbf=now + 60), "issued in the future": token(iat=now + 60),
            "no exp": token(exp=...), "text exp": token(exp=str(now + 60)), "exp beyond 9999": token(exp=253402300800 + 1), "no sub": token(sub=...),
            "empty sub": token(sub=""), "number sub": token(sub=1), "no aud": token(aud=...), "other aud": token(aud="https://other"),
            "aud with a slash": token(aud=AUDIENCE + "/"), "number in aud": token(aud=[AUDIENCE, 1]), "other iss": token(iss="https://evil"),
            "iss with a slash": token(iss=ISSUER + "/"), "iss in a list": token(iss=[ISSUER]), "no iss": token(iss=...),
            "scope number": token(scope=1), "scope list of numbers": token(scope=[1]), "global text": token(**{"global": "true"}),
            "org_uids text": token(org_uids="x"), "org_uids numbers": token(org_uids=[1]),
            "crit": token({"crit": ["b64"]}), "empty crit": token({"crit": []}), "b64 false": token({"b64": False}), "typ id": token({"typ": "dpop+jwt"}),
            "typ logout": token({"typ": "logout+jwt"}), "events": token(events={}), "at_hash": token(at_hash="x"), "c_hash": token(c_hash="x"),
            "payload typ": token(typ="ID"), "token_use": token(token_use="id"), "refresh": token(typ="Refresh"),
            "stranger's key": token(key=self.keys.stranger), "alg none": token({"alg": "none"}),
            "HMAC with the public key": token({"alg": "HS256"}, key=self.keys.ec.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)),
            "alg of another family": token({"alg": "RS256", "kid": "e1"}), "unknown kid": token({"kid": "unknown"}),
            "cnf jkt": token(cnf={"jkt": "x"}), "cnf x5t without a certificate": token(cnf={"x5t#S256": b64(bytes(32))}),
            "duplicate scope": self.keys.sign({"alg": "ES256", "kid": "e1"}, json.dumps(
                {"iss": ISSUER, "aud": AUDIENCE, "sub": ALICE, "exp": now + 60})[:-1] + ', "scope": "a", "sc\\u006fpe": "crm contracts:read"}'),
            "array payload": self.keys.sign({"alg": "ES256", "kid": "e1"}, json.dumps([now + 60, 0, ALICE, ISSUER, AUDIENCE])),
            "padding": good + "=", "four parts": good + ".x", "two parts": f"{head}.{payload}", "no signature": f"{head}.{payload}.",
            "garbage": "abc", "changed payload": f"{head}.{payload[:-2]}{'AA' if payload[-2:] != 'AA' else 'BB'}.{signature}",
        }
        for why, text in bad.items():
            with self.subTest(why):
                names, _ = self.expect(401, "crm.test", "/crm/any", text)
                self.assertIn('error="invalid_token"', names["www-authenticate"])
        fine = {
            "plain": good, "fractional exp": token(exp=now + 60.5), "within leeway": token(exp=now - 20), "typ JWT": token({"typ": "JWT"}),
            "typ absent": token({"typ": ...}), "typ long": token({"typ": "application/at+jwt"}), "typ upper": token({"typ": "AT+JWT"}),
            "aud list": token(aud=["x", AUDIENCE]), "no kid": token({"kid": ...}), "null claims": token(nbf=None, org_uids=None, **{"global": None}),
            "RS256": token({"alg": "RS256", "kid": "r1"}), "PS256": token({"alg": "PS256", "kid": "r1"}), "nonce beside an API audience": token(nonce="n"),
        }
        for why, text in fine.items():
            with self.subTest(why):
                self.expect(200, "crm.test", "/crm/any", text)

    def test_the_authorization_header(self):
        good = self.keys.token()
        for lines, status, error in (
            ([], 401, None), (["Authorization: Basic YTpi"], 401, None), (["Authorization: Bearer"], 401, "any"),
            (["Authorization: Bearer a b"], 401, "invalid_token"), (["Authorization: Bearer a,b"], 401, "invalid_token"),
            ([f"Authorization: bearer {good}"], 200, None), ([f"Authorization: BEARER {good}"], 200, None),
            ([f"Authorization: Bearer {good}"] * 2, 400, "invalid_request"), ([f"Authorization: Bearer {good}", "Authorization: Basic YTpi"], 400, "invalid_request"),
            ([f"Authorization: DPoP {good}"], 401, None),
        ):
            with self.subTest(lines=[line[:40] for line in lines]):
                names, _ = self.expect(status, "crm.test", "/crm/any", headers=lines)
                if error is None and status == 401:
                    self.assertNotIn("error=", names["www-authenticate"])
                elif error not in (None, "any"):
                    self.assertIn(f'error="{error}"', names["www-authenticate"])
        self.expect(401, "crm.test", f"/crm/any?access_token={good}")

    def test_conditions(self):
        token = self.keys.token
        alice, kusy = token(), token(sub="kusy", client_id="kusy")
        other = token(sub="batch", client_id="batch")
        noflow = token(client_id=...)
        contracts = f"/crm/customers/{ALICE}/contracts"
        now = int(time.time())
        for status, target, credentials in (
            (200, contracts, alice), (403, f"/crm/customers/{BOB}/contracts", alice), (200, contracts.replace(ALICE, ALICE.upper()), alice),
            (200, f"/crm/customers/{BOB}/contracts", kusy), (403, f"/crm/customers/{BOB}/contracts", other), (200, contracts, noflow),
            (403, contracts, token(scope="crm")), (403, contracts, token(scope="contracts:readonly contracts")), (200, contracts, token(scope=["contracts:read"])),
            (200, contracts, token(scope=..., scp=["contracts:read"])), (404, "/crm/customers/x/contracts", alice), (401, "/crm/customers/x/contracts", None),
            (403, "/crm/customers/kusy/contracts".replace("kusy", BOB), token(sub="kusy", client_id="")),
            (403, "/crm/both", alice), (200, "/crm/both", token(scope="contracts:write contracts:read")), (200, "/crm/either", alice), (403, "/crm/either", token(scope="crm")),
            (200, f"/crm/list?customer={ALICE}", alice), (403, f"/crm/list?customer={BOB}", alice), (403, "/crm/list", alice),
            (403, f"/crm/list?customer={ALICE}&customer={BOB}", alice), (200, f"/crm/list?customer={ALICE}&customer={ALICE}", alice),
            (400, f"/crm/list?customer={ALICE}&Customer={BOB}", alice), (400, f"/crm/list?customer={ALICE}&customer[]={BOB}", alice),
            (400, f"/crm/list?customer={ALICE}&customer%00x={BOB}", alice), (400, f"/crm/list?customer={ALICE}&%20customer={BOB}", alice),
            (400, f"/crm/list?customer={ALICE};customer={BOB}", alice), (400, f"/crm/list?x=1;customer={ALICE}", alice), (400, f"/crm/list?customer={ALICE}&x=%zz", alice),
            (400, f"/crm/list?customer={ALICE}&x=%u0041", alice), (200, f"/crm/list?cust%6fmer={ALICE}", alice), (200, f"/crm/list?customer={ALICE}&x=1", alice),
            (200, f"/crm/list?customer={BOB}", kusy), (200, "/crm/list", kusy), (403, "/crm/users", kusy), (403, "/crm/users", noflow), (200, "/crm/users", alice),
            (200, "/crm/machines", kusy), (403, "/crm/machines", alice), (403, "/crm/machines", noflow), (200, "/crm/people", alice), (403, "/crm/people", kusy),
            (403, "/crm/people", noflow), (200, "/crm/not-machine", alice), (403, "/crm/not-machine", kusy), (403, "/crm/not-machine", noflow),
            (200, "/crm/level", token(level=1)), (403, "/crm/level", token(level="1")), (403, "/crm/level", alice), (200, "/crm/level-text", token(level="1")),
            (403, "/crm/level-text", token(level=1)), (200, "/crm/level/1", token(level=1)), (200, "/crm/level/1", token(level="1")), (403, "/crm/level/01", token(level=1)),
            (403, "/crm/level/true", token(level=True)), (403, "/crm/level/1", alice),
            (200, "/crm/not-blocked", token(blocked=False)), (403, "/crm/not-blocked", token(blocked=True)), (403, "/crm/not-blocked", alice), (403, "/crm/not-blocked", token(blocked="no")),
            (200, "/crm/has-roles", token(roles=["root"])), (403, "/crm/has-roles", token(roles=["user"])), (403, "/crm/has-roles", token(roles="root")), (403, "/crm/has-roles", alice),
            (401, "/crm/step-up", alice), (200, "/crm/step-up", token(acr="gold", auth_time=now)), (401, "/crm/step-up", token(acr="gold", auth_time=now - 2000)),
            (401, "/crm/step-up", token(acr="silver", auth_time=now)), (401, "/crm/step-up", token(acr="gold")),
            (200, "/crm/local", None), (403, "/crm/elsewhere", None), (404, "/crm/numbers/01", alice), (200, "/crm/numbers/-5", alice), (404, "/crm/numbers/5x", alice),
        ):
            with self.subTest(target, status=status):
                self.expect(status, "crm.test", target, credentials)
        names, _ = self.expect(401, "crm.test", "/crm/step-up", alice)
        self.assertIn('error="insufficient_user_authentication"', names["www-authenticate"])
        self.assertIn('acr_values="gold"', names["www-authenticate"])
        self.assertIn("max_age", names["www-authenticate"])
        names, _ = self.expect(403, "crm.test", "/crm/both", token(scope="crm contracts:read"))
        self.assertIn('scope="contracts:write"', names["www-authenticate"])
        names, _ = self.expect(403, "crm.test", "/crm/either", token(scope="crm"))
        self.assertIn('scope="contracts:admin contracts:read"', names["www-authenticate"])

    def test_bound_headers(self):
        alice = self.keys.token()
        for status, lines in ((200, [f"X-Customer: {ALICE}"]), (403, [f"X-Customer: {BOB}"]), (403, []), (403, [f"X-Customer: {ALICE}", f"X-Customer: {BOB}"]),
                              (400, [f"X-Customer: {ALICE}", f"X_Customer: {BOB}"]), (400, [f"X.Customer: {ALICE}"]),
                              (200, [f"x-customer: {ALICE}"])):
            with self.subTest(lines):
                self.expect(status, "crm.test", "/crm/tenant", alice, headers=lines)
        status, _, seen = self.request("crm.test", "/crm/tenant", alice, headers=[f"X-Customer: {ALICE}", "Connection: X-Customer"])
        self.assertEqual((status, seen), (400, []))
        self.expect(200, "crm.test", "/crm/v2", alice, headers=["X-Api-Version: 2"])
        self.expect(403, "crm.test", "/crm/v2", alice, headers=["X-Api-Version: 1"])
        self.expect(403, "crm.test", "/crm/v2", alice)

    def test_organizations(self):
        org, other = "7d1f2a3b-0000-4000-8000-00000000000a", "7d1f2a3b-0000-4000-8000-00000000000b"
        token = self.keys.token
        for status, target, credentials in (
            (200, f"/orgs/{org}", token(org_uids=[org])), (403, f"/orgs/{other}", token(org_uids=[org])), (403, f"/orgs/{org}", token()),
            (403, f"/orgs/{org}", token(org_uids=[])), (200, f"/orgs/{other}", token(**{"global": True})), (403, f"/orgs/{org}", token(**{"global": False})),
            (200, f"/orgs/{org.upper()}", token(org_uids=[org])), (403, f"/not-in?org={org}", token(org_uids=[org])), (200, f"/not-in?org={other}", token(org_uids=[org], **{"global": False})),
            (403, f"/not-in?org={other}", token()), (200, "/global", token(**{"global": True})), (403, "/global", token()), (403, "/not-global", token()),
            (200, "/not-global", token(**{"global": False})), (200, "/local", token()), (200, "/permitted", token(permissions=["write", "read"])),
            (403, "/permitted", token(permissions=["read"])), (403, "/permitted", token()), (403, "/permitted", token(permissions="read write")),
            (200, "/not-permitted", token(permissions=["read"])), (403, "/not-permitted", token(permissions=["admin"])), (403, "/not-permitted", token()),
            (403, "/not-permitted", token(permissions="read")), (200, "/orgs/" + org, token(org_uids=5, **{"global": True})),
        ):
            with self.subTest(target, status=status):
                self.expect(status, "a.orgs.test", target, credentials)
        self.expect(200, "acme.orgs.test", "/tenant", token(sub="acme"))
        self.expect(403, "acme.orgs.test", "/tenant", token(sub="other"))
        self.expect(421, "a.b.orgs.test", "/tenant", token(sub="a"))
        self.expect(421, "orgs.test", "/tenant", token(sub="a"))

    def test_identity_headers_and_forwarding(self):
        org = "7d1f2a3b-0000-4000-8000-00000000000a"
        credentials = self.keys.token(org_uids=[org, "a,b %"], permissions=["p 1", "p2"], team="blue\u00e9")
        _, seen = self.expect(200, "forward.test", "/api/stripped/7?x=%2f&y", credentials, headers=[
            "X-User-Id: evil", "x_user_id: evil", "X-Auth-Subject: evil", "X_Auth_Anything: evil", "Proxy: evil", "X-Rewrite-Url: /evil",
            "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=evil", "DPoP: evil", "Keep-Alive: evil", "TE: gzip", "Cookie: a=1"])
        line, headers, _ = seen[0]
        self.assertEqual(line, f"GET /v1/stripped/7?x=%2f&y&owner={ALICE} HTTP/1.1")
        self.assertNotIn("evil", str(headers))
        self.assertNotIn("6.6.6.6", str(headers))
        names = [name.lower() for name, _ in headers]
        self.assertEqual(len(names), len(set(names)), "no header twice")
        values = {name.lower(): value for name, value in headers}
        for name, value in {"x-user-id": ALICE, "x-team": "blue%C3%A9", "x-text": "id=7;app", "x-auth-subject": ALICE, "x-auth-client-id": "app",
                            "x-auth-issuer": "shoen", "x-auth-flow": "user", "x-auth-scopes": "crm contracts:read", "x-auth-permissions": None,
                            "x-auth-global": "false", "x-auth-org-uids": f"{org},a%2Cb%20%25", "x-auth-policy": "forward", "x-forwarded-for": "127.0.0.1",
                            "x-forwarded-proto": "http", "x-forwarded-host": "forward.test", "host": "forward.test", "cookie": "a=1", "authorization": None,
                            "te": None, "keep-alive": None}.items():
            self.assertEqual(values.get(name), value, name)
        self.assertRegex(values["x-request-id"], "^[0-9a-f]{8}-[0-9a-f]{4}-7")
        self.assertRegex(values["traceparent"], "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$")
        self.assertIn("via", values)
        _, seen = self.expect(200, "forward.test", "/api/kept", credentials)
        self.assertIn("Bearer", str(seen))
        _, seen = self.expect(200, "forward.test", "/api/none", credentials, headers=["X-Auth-Subject: evil"])
        self.assertNotIn("x-auth", str(seen).lower())
        _, seen = self.expect(200, "forward.test", "/api/some", credentials)
        self.assertEqual(sorted(name.lower() for name, _ in seen[0][1] if name.lower().startswith("x-auth")), ["x-auth-flow", "x-auth-subject"])
        _, seen = self.expect(200, "forward.test", "/api/plain", credentials, headers=["X-Auth-Subject: evil"])
        self.assertNotIn("bearer", str(seen).lower())
        self.assertNotIn("evil", str(seen))
        self.assertNotIn(ALICE, str(seen))
        _, seen = self.expect(200, "forward.test", "/api/plain", headers=["Authorization: Basic YTpi"])
        self.assertIn("YTpi", str(seen))
        _, seen = self.expect(200, "forward.test", "/api/none", self.keys.token(sub="kusy", client_id="kusy"))
        _, seen = self.expect(200, "forward.test", "/api/some", self.keys.token(sub="kusy", client_id="kusy"))
        self.assertNotIn("x-auth-subject", str(seen).lower())
        self.expect(413, "forward.test", "/api/small", method="POST", body="x" * 11)
        self.expect(200, "forward.test", "/api/small", method="POST", body="x" * 10)

    def test_connection_headers_cannot_remove_identity(self):
        for line in ("Connection: close, X-Auth-Subject", "Connection: X-Auth-Subject, X-Forwarded-For, X-User-Id"):
            self.upstream.seen.clear()
            self.raw(f"GET /api/stripped/7 HTTP/1.1\r\nHost: forward.test\r\n{line}\r\nAuthorization: Bearer {self.keys.token()}\r\n\r\n")
            self.assertEqual(len(self.upstream.seen), 1)
            values = {name.lower(): value for name, value in self.upstream.seen[0][1]}
            self.assertEqual((values["x-auth-subject"], values["x-user-id"], values["x-forwarded-for"]), (ALICE, ALICE, "127.0.0.1"))

    def test_trailers_cannot_carry_identity(self):
        self.upstream.seen.clear()
        self.raw("POST /x HTTP/1.1\r\nHost: readings.test\r\nTE: trailers\r\nTrailer: X-Auth-Subject, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n0\r\nX-Auth-Subject: evil\r\nX_Auth_Global: true\r\nX-Sum: 1\r\n\r\n")
        self.assertEqual([body for _, _, body in self.upstream.seen], [b"abc"])
        self.assertNotIn("evil", str(self.upstream.seen))
        self.assertNotIn("'true'", str(self.upstream.seen))

    def test_framing_that_could_be_read_in_two_ways(self):
        start = "POST /x HTTP/1.1\r\nHost: readings.test\r\n"
        smuggled = "GET /smuggled HTTP/1.1\r\nHost: readings.test\r\n\r\n"
        for name, data in {
            "two codings": "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "chunked twice": "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            "two lines": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "leading comma": "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
            "identity": "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", "x chunked": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            "two lengths": "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "list length": "Content-Length: 3, 3\r\n\r\nabc", "plus": "Content-Length: +3\r\n\r\nabc",
            "negative": "Content-Length: -1\r\n\r\nabc", "space before colon": "Content-Length : 3\r\n\r\nabc", "obs-fold": "X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
            "bad chunk size": "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", "expect": "Expect: y 100-continue\r\nContent-Length: 0\r\n\r\n",
            "bare CR": "X-A: a\rb\r\nContent-Length: 0\r\n\r\n", "NUL": "X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
            "odd length": "Content-Length: 003\r\n\r\nabc",
        }.items():
            with self.subTest(name):
                self.upstream.seen.clear()
                received, closed = self.raw(start + data + smuggled)
                status = received[9:12]
                self.assertIn(status, (b"417",) if name == "expect" else (b"400",), received)
                self.assertTrue(closed, "the connection is closed")
                self.assertEqual(received.count(b"HTTP/1."), 1, "nothing that follows is read")
                self.assertNotIn("smuggled", str(self.upstream.seen))
                self.assertFalse([seen for seen in self.upstream.seen if name != "bad chunk size"], "the upstream saw nothing")
        # What the HTTP library has normalised may be answered, but leaves nothing ambiguous behind.
        for name, data in {"length and coding": "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                           "equal lengths": "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"}.items():
            with self.subTest(name):
                self.upstream.seen.clear()
                received, closed = self.raw(start + data + smuggled)
                for _, headers, _ in self.upstream.seen:
                    names = [header.lower() for header, _ in headers]
                    self.assertLessEqual(names.count("content-length") + names.count("transfer-encoding"), 1)
                if name == "length and coding":
                    self.assertTrue(closed)
                    self.assertNotIn("smuggled", str(self.upstream.seen))

    def test_keep_alive_pipelining_loses_and_doubles_nothing(self):
        self.upstream.seen.clear()
        received, _ = self.raw("".join(f"GET /n/{number} HTTP/1.1\r\nHost: readings.test\r\n\r\n" for number in range(50)))
        self.assertEqual(received.count(b"HTTP/1.1 200"), 50)
        self.assertEqual([line for line, _, _ in self.upstream.seen], [f"GET /n/{number} HTTP/1.1" for number in range(50)])

    def test_limits_of_the_head(self):
        self.expect(414, "readings.test", "/" + "a" * 9000)
        self.expect(431, "readings.test", "/x", headers=["X-A: " + "a" * 25 * 1024])
        self.expect(431, "readings.test", "/x", headers=[f"X-{number}: a" for number in range(101)])
        self.expect(431, "readings.test", "/x", headers=[f"X-{number}: {'a' * 8000}" for number in range(5)])

    def test_observing_records_and_forwards(self):
        alice = self.keys.token()
        for would, target, credentials, method in ((401, "/live/a", None, "GET"), (403, "/live/a", alice, "GET"), (404, "/live/x", alice, "GET"),
                                                   (405, "/live/a", alice, "PUT"), (401, "/live/a", self.keys.token(exp=1), "GET")):
            with self.subTest(target, would=would):
                _, seen = self.expect(200, "observe.test", target, credentials, method=method, headers=["X-Auth-Subject: evil"])
                self.assertNotIn("evil", str(seen))
                values = {name.lower(): value for name, value in seen[0][1]}
                self.assertEqual("authorization" in values, credentials is not None)
                self.assertEqual(values.get("x-auth-subject"), ALICE if credentials == alice else None)
                request_id = values["x-request-id"]
                audit = self.directory / "audit.jsonl"
                record = json.loads(wait_until(lambda: [line for line in audit.read_text().splitlines() if request_id in line], "the record")[0])
                self.assertEqual((record["mode"], record["would"], record["status"]), ("observe", would, 200))
        self.expect(400, "observe.test", "/live/../a", alice)
        self.assertIn(b'torwart_observing{policy="observe"} 1', self.admin("/metrics").body)
        self.assertIn("observe", self.admin("/readyz").body.decode())

    def test_refusals_are_problem_documents(self):
        names, _ = self.expect(403, "crm.test", f"/crm/customers/{BOB}/contracts", self.keys.token())
        problem = json.loads(self.body)
        self.assertEqual(names["content-type"], "application/problem+json")
        self.assertEqual(names["cache-control"], "no-store")
        self.assertEqual(set(problem) >= {"type", "title", "status", "detail", "instance"}, True)
        self.assertTrue(problem["type"].startswith("urn:torwart:"))
        self.assertNotIn(BOB, self.body.decode())
        self.assertNotIn(ALICE, self.body.decode())
        names, _ = self.expect(403, "crm.test", f"/crm/customers/{BOB}/contracts", self.keys.token(), headers=["Accept: text/html"])
        self.assertTrue(names["content-type"].startswith("text/html"))
        names, _ = self.expect(403, "crm.test", f"/crm/customers/{BOB}/contracts", self.keys.token(), headers=["Accept: */*"])
        self.assertEqual(names["content-type"], "application/problem+json")
        status, _, seen = self.request("crm.test", "/.torwart/ping")
        self.assertEqual((status, seen), (200, []))

    def test_a_body_waits_for_the_decision(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.putrequest("POST", "/crm/any", skip_host=True)
        for name, value in (("Host", "crm.test"), ("Expect", "100-continue"), ("Content-Length", "5")):
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        self.assertEqual(answer.status, 401)
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(b"POST /x HTTP/1.1\r\nHost: readings.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 100"))
            client.sendall(b"ok")
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200"))


if __name__ == "__main__":
    unittest.main()
