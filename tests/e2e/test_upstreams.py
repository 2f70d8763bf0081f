"""Real legacy stacks behind the gateway: what they read is what policy decided on, whatever the size."""

import hashlib
import json
import subprocess

from support import HERE, NODE, EndToEnd, curl, free_port, unittest

POLICY = """\
    version: 1
    policy: {name}
    hosts: [{host}]
    upstream: {name}
    forward: {{assertion: true}}
    routes:
      - {{path: "/{{*rest}}", methods: "*", unbound: [rest], require: {{scope: "contracts:read"}}}}
    """


class Upstreams(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_provider()
        websocket = free_port()
        cls.start("websocket", [NODE, HERE / "upstreams/websocket-echo.mjs", websocket], websocket)
        upstreams = {"wsgi": cls.start_gunicorn(), "php": cls.start_php(), "websocket": websocket}
        cls.stacks = {name: upstreams[name] for name in ("wsgi", "php")}
        hosts = {"wsgi": "api.example.com", "php": "localhost", "websocket": '"127.0.0.1"'}
        policies = {f"{name}.yaml": POLICY.format(name=name, host=hosts[name]) for name in upstreams}
        cls.write_gateway(upstreams, policies, {"idp": cls.issuer_url("RS256")}, extra="limits: {body: 200MiB}\nassertion: {issuer: https://gateway.example.com}\n")
        cls.gateway = cls.start_gateway()
        cls.wait_ready()
        cls.token = cls.machine_token()

    def test_each_stack_sees_the_same_request(self):
        for host, stack in (("api.example.com", "wsgi"), ("localhost", "php")):
            for option in ("--http1.1", "--http2"):
                with self.subTest(stack=stack, option=option):
                    answer = self.ask("/a%20b/%7Ec/d;e=1?q=%2F&q=+", self.token,
                                      [option, "--data-binary", "hello", "-H", "Content-Type: text/plain", "-b", "a=1; b=2"], host=host)
                    self.assertEqual(answer.status, 200, answer)
                    seen = answer.json()
                    self.assertEqual(seen["stack"], stack)
                    self.assertEqual(seen["method"], "POST")
                    self.assertEqual(seen["uri"], "/a%20b/~c/d;e=1?q=%2F&q=+")
                    self.assertEqual(seen["query"], "q=%2F&q=+")
                    self.assertEqual(seen["body_bytes"], 5)
                    self.assertEqual(seen["headers"]["HTTP_COOKIE"], "a=1; b=2")
                    self.assertEqual(seen["headers"]["HTTP_X_AUTH_CLIENT_ID"], "kusy")
                    self.assertNotIn("HTTP_AUTHORIZATION", seen["headers"])
                    self.assertNotIn("HTTP_X_AUTH_SUBJECT", seen["headers"])

    def test_each_stack_verifies_the_assertion_with_the_documented_snippet(self):
        keys = f"http://127.0.0.1:{self.admin_port}/.well-known/torwart/jwks.json"
        for host, stack in (("api.example.com", "wsgi"), ("localhost", "php")):
            with self.subTest(stack=stack):
                answer = self.ask(f"/verified?as={stack}&keys={keys}", self.token, host=host)
                self.assertEqual(answer.status, 200, answer)
                claims = answer.json()
                self.assertEqual((claims["iss"], claims["aud"]), ("https://gateway.example.com", stack))
                self.assertEqual((claims["client_id"], claims["flow"], claims["global"]), ("kusy", "client_credentials", False))
                self.assertEqual(claims["organizations"], [])
                self.assertNotIn("sub", claims)
                answer = self.ask(f"/verified?as=another&keys={keys}", self.token, host=host)
                self.assertEqual((answer.status, answer.json()), (401, {"refused": "of another gateway, or for another server"}))

    def test_an_assertion_that_did_not_come_through_the_gateway_is_refused(self):
        keys = f"http://127.0.0.1:{self.admin_port}/.well-known/torwart/jwks.json"
        for stack, port in self.stacks.items():
            with self.subTest(stack=stack):
                for forged in ([], ["-H", "X-Auth-Assertion: e30.e30.e30"]):
                    answer = curl([*forged, f"http://127.0.0.1:{port}/verified?as={stack}&keys={keys}"])
                    self.assertEqual(answer.status, 401, answer)

    def test_100_megabytes_up_and_down_take_less_than_4_mib_of_memory(self):
        size = 100_000_000
        upload = self.directory / "upload"
        with open(upload, "wb") as file:
            file.truncate(size)
        digest = hashlib.sha256(bytes(size)).hexdigest()
        for option in ("--http1.1", "--http2"):
            with self.subTest(option):
                self.ask("/upload", self.token, [option, "--data-binary", "warm", "-H", "Content-Type: text/plain"])
                before, peak = self.gateway.resident_bytes(), 0
                import threading
                done = threading.Event()

                def watch():
                    nonlocal peak
                    while not done.wait(0.01):
                        peak = max(peak, self.gateway.resident_bytes())

                watcher = threading.Thread(target=watch)
                watcher.start()
                try:
                    answer = self.ask("/upload", self.token, [option, "-T", str(upload), "-H", "Content-Type: application/octet-stream"])
                    self.assertEqual(answer.status, 200, answer)
                    self.assertEqual((answer.json()["body_bytes"], answer.json()["body_sha256"]), (size, digest))
                    target = self.directory / "download"
                    answer = self.ask(f"/download/{size}", self.token, [option, "-o", str(target)])
                    self.assertEqual(answer.status, 200, answer)
                    self.assertEqual(target.stat().st_size, size)
                finally:
                    done.set()
                    watcher.join()
                self.assertLess(peak - before, 4 * 1024 * 1024, f"from {before} to {peak}")

    def test_a_body_over_the_limit_is_413(self):
        upload = self.directory / "too-large"
        with open(upload, "wb") as file:
            file.truncate(201 * 1024 * 1024)
        answer = self.ask("/upload", self.token, ["--http1.1", "-T", str(upload)])
        self.assertEqual(answer.status, 413, answer)

    def websocket(self, token, *more):
        done = subprocess.run([NODE, HERE / "upstreams/websocket-client.mjs", f"wss://127.0.0.1:{self.port}/chat",
                               self.directory / "ca.pem", token, *more], capture_output=True, timeout=60, check=False)
        return json.loads(done.stdout)

    def test_a_websocket_is_tunnelled_after_the_decision(self):
        said = self.websocket(self.token)
        headers = json.loads(said["received"][0])
        self.assertEqual(headers["x-auth-client-id"], "kusy")
        self.assertNotIn("authorization", headers)
        self.assertEqual(said["sizes"][1:], [3, 3, 100000])
        self.assertEqual(said["code"], 1000)

    def test_a_websocket_without_a_token_is_refused(self):
        said = self.websocket("")
        self.assertEqual(said["refused"], 401)
        self.assertTrue(said["challenge"].startswith("Bearer"))

    def test_a_drain_tells_a_websocket_to_go_and_ends_with_0(self):
        import signal
        port, admin = self.port, self.admin_port
        self.addCleanup(lambda: (setattr(type(self), "port", port), setattr(type(self), "admin_port", admin)))
        client = subprocess.Popen([NODE, HERE / "upstreams/websocket-client.mjs", f"wss://127.0.0.1:{self.port}/chat",
                                   self.directory / "ca.pem", self.token, "wait"], stdout=subprocess.PIPE)
        try:
            self.assertEqual(client.stdout.readline(), b"ready\n")
            open_connections = [line for line in self.admin("/metrics").body.decode().splitlines() if line.startswith("torwart_connections{")]
            self.assertEqual([line.rsplit(" ", 1)[1] for line in open_connections], ["1.0"], open_connections)
            self.gateway.process.send_signal(signal.SIGTERM)
            said = json.loads(client.communicate(timeout=45)[0])
            self.assertEqual(said.get("code"), 1001, said)
            self.assertEqual(self.gateway.process.wait(45), 0)
        finally:
            client.kill()
            type(self).gateway = self.start("torwart", [self.gateway.process.args[0], *self.gateway.process.args[1:]], self.port)
            self.wait_ready()


if __name__ == "__main__":
    unittest.main()
