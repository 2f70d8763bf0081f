"""Tokens of a certified OpenID provider open exactly what policy says, in every algorithm, over HTTP/1.1 and HTTP/2."""

from support import ALICE, BOB, EndToEnd, unittest

POLICY = """\
    version: 1
    policy: crm
    hosts: [api.example.com]
    base_path: /crm
    upstream: wsgi
    client_credentials: {bypass: [kusy]}
    routes:
      - path: /customers/{customer}/contracts
        methods: [GET, POST]
        params: {customer: uuid}
        require:
          scope: contracts:read
          subject: "{customer}"
      - path: /public
        methods: [GET]
        require: public
    """
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]


class Issuers(EndToEnd):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_provider()
        upstream = cls.start_gunicorn()
        policy = POLICY.replace("base_path", f"issuers: [{', '.join(a.lower() for a in ALGORITHMS)}]\n    base_path", 1)
        cls.write_gateway({"wsgi": upstream}, {"crm.yaml": policy}, {a.lower(): cls.issuer_url(a) for a in ALGORITHMS})
        cls.start_gateway()
        cls.wait_ready()

    def test_a_customer_reads_her_own_contracts_in_every_algorithm(self):
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm):
                token = self.user_token("alice", algorithm)
                answer = self.ask(f"/crm/customers/{ALICE}/contracts?x=1&y=%20", token)
                self.assertEqual(answer.status, 200, answer)
                seen = answer.json()
                self.assertEqual(seen["uri"], f"/crm/customers/{ALICE}/contracts?x=1&y=%20")
                headers = seen["headers"]
                self.assertEqual(headers["HTTP_X_AUTH_SUBJECT"], ALICE)
                self.assertEqual(headers["HTTP_X_AUTH_CLIENT_ID"], "app")
                self.assertEqual(headers["HTTP_X_AUTH_ISSUER"], algorithm.lower())
                self.assertEqual(headers["HTTP_X_AUTH_FLOW"], "user")
                self.assertIn("contracts:read", headers["HTTP_X_AUTH_SCOPES"].split())
                self.assertEqual(headers["HTTP_HOST"], "api.example.com")
                self.assertEqual(headers["HTTP_X_FORWARDED_PROTO"], "https")
                self.assertNotIn("HTTP_AUTHORIZATION", headers)

    def test_nobody_reads_the_contracts_of_another_customer(self):
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm):
                answer = self.ask(f"/crm/customers/{BOB}/contracts", self.user_token("alice", algorithm))
                self.assertEqual(answer.status, 403, answer)
                self.assertEqual(answer.headers["content-type"], "application/problem+json")
                self.assertEqual(answer.json()["status"], 403)
                self.assertNotIn("www-authenticate", answer.headers)

    def test_the_machine_client_named_in_the_bypass_acts_for_every_customer(self):
        for algorithm in ALGORITHMS:
            with self.subTest(algorithm):
                answer = self.ask(f"/crm/customers/{BOB}/contracts", self.machine_token(algorithm))
                self.assertEqual(answer.status, 200, answer)
                headers = answer.json()["headers"]
                self.assertEqual(headers["HTTP_X_AUTH_FLOW"], "client_credentials")
                self.assertNotIn("HTTP_X_AUTH_SUBJECT", headers)

    def test_a_token_without_the_scope_is_told_which_one_is_missing(self):
        answer = self.ask(f"/crm/customers/{BOB}/contracts", self.machine_token(scope="crm"))
        self.assertEqual(answer.status, 403, answer)
        challenge = answer.headers["www-authenticate"]
        self.assertIn('error="insufficient_scope"', challenge)
        self.assertIn('scope="contracts:read"', challenge)

    def test_without_a_token_there_is_a_bare_challenge(self):
        answer = self.ask(f"/crm/customers/{ALICE}/contracts")
        self.assertEqual(answer.status, 401, answer)
        self.assertTrue(answer.headers["www-authenticate"].startswith("Bearer "), answer)
        self.assertNotIn("error", answer.headers["www-authenticate"])

    def test_a_token_changed_in_one_byte_is_refused(self):
        token = self.user_token("alice")
        head, payload, signature = token.split(".")
        for changed in (f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}", f"{head}.{payload}.", f"{head}.{payload}"):
            answer = self.ask(f"/crm/customers/{ALICE}/contracts", changed)
            self.assertEqual(answer.status, 401, answer)
            self.assertIn('error="invalid_token"', answer.headers["www-authenticate"])

    def test_http2_and_http11_decide_alike(self):
        token = self.user_token("alice")
        for option, version in (("--http1.1", "1.1"), ("--http2", "2")):
            with self.subTest(version):
                answer = self.ask(f"/crm/customers/{ALICE}/contracts", token, [option])
                self.assertEqual((answer.status, answer.version), (200, version), answer)
                answer = self.ask(f"/crm/customers/{BOB}/contracts", token, [option])
                self.assertEqual((answer.status, answer.version), (403, version), answer)

    def test_identity_headers_of_the_caller_never_arrive(self):
        token = self.user_token("alice")
        forged = ["X-Auth-Subject: root", "X_Auth_Subject: root", "x-auth-global: true", "X.Auth.Org.Uids: all",
                  "X-Auth-Admin: 1", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-Original-URL: /admin"]
        for option in ("--http1.1", "--http2"):
            answer = self.ask(f"/crm/customers/{ALICE}/contracts", token, [option, *(part for line in forged for part in ("-H", line))])
            self.assertEqual(answer.status, 200, answer)
            headers = answer.json()["headers"]
            self.assertEqual(headers["HTTP_X_AUTH_SUBJECT"], ALICE)
            self.assertEqual(headers["HTTP_X_AUTH_GLOBAL"], "false")
            self.assertEqual(headers["HTTP_X_FORWARDED_FOR"], "127.0.0.1")
            self.assertNotIn("HTTP_X_AUTH_ADMIN", headers)
            self.assertNotIn("HTTP_X_ORIGINAL_URL", headers)
            self.assertNotIn("1.2.3.4", str(headers))
            self.assertNotIn("root", str(headers))

    def test_a_public_route_asks_for_nothing_and_says_nothing_about_anyone(self):
        answer = self.ask("/crm/public", options=["-H", "X-Auth-Subject: root"])
        self.assertEqual(answer.status, 200, answer)
        self.assertFalse([name for name in answer.json()["headers"] if name.startswith("HTTP_X_AUTH") and name not in
                          ("HTTP_X_AUTH_POLICY", "HTTP_X_AUTH_ROUTE", "HTTP_X_AUTH_GLOBAL")])

    def test_every_request_leaves_one_audit_record_without_its_token(self):
        token = self.user_token("alice")
        answer = self.ask(f"/crm/customers/{BOB}/contracts", token)
        request_id = answer.json()["instance"]
        from support import json, wait_until
        audit = self.directory / "audit.jsonl"
        lines = wait_until(lambda: [line for line in audit.read_text().splitlines() if request_id in line], "the audit record")
        self.assertEqual(len(lines), 1)
        record = json.loads(lines[0])
        self.assertEqual((record["kind"], record["decision"], record["reason"], record["status"]), ("audit", "deny", "subject", 403))
        self.assertEqual(record["principal"]["subject"], ALICE)
        self.assertNotIn(token.rsplit(".", 1)[1], audit.read_text())

    def test_the_metrics_are_what_prometheus_reads(self):
        import subprocess
        metrics = self.admin("/metrics")
        self.assertEqual(metrics.status, 200)
        for name in (b"http_server_request_duration_seconds", b"torwart_decisions_total", b"torwart_token_validations_total"):
            self.assertIn(name, metrics.body)
        done = subprocess.run(["promtool", "check", "metrics", "--extended"], input=metrics.body.replace(b"# EOF\n", b""),
                              capture_output=True, check=False)
        self.assertNotIn(b"error", done.stderr.lower(), done)


if __name__ == "__main__":
    unittest.main()
