"""Keys rotate and issuers fail while requests go on."""

import threading

from support import ALICE, EndToEnd, curl, unittest, wait_until

POLICY = """\
    version: 1
    policy: crm
    hosts: [api.example.com]
    upstream: wsgi
    routes:
      - {path: "/customers/{customer}", methods: [GET], require: {scope: "contracts:read", subject: "{customer}"}}
    """


class Outages(EndToEnd):
    def setUp(self):
        self.provider = self.start_provider()
        self.write_gateway({"wsgi": self.start_gunicorn()}, {"crm.yaml": POLICY}, {"idp": self.issuer_url("ES256")})
        self.gateway = self.start_gateway()

    def tearDown(self):
        self.gateway.stop()
        self.provider.stop()

    def control(self, action):
        answer = curl(["-X", "POST", f"http://127.0.0.1:{self.provider_port}/control/ES256/{action}"])
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def test_key_rotation_under_traffic_fails_no_request(self):
        self.wait_ready()
        tokens, answers, stop = [self.user_token("alice", "ES256")], [], threading.Event()

        def traffic():
            while not stop.is_set():
                answers.append(self.ask(f"/customers/{ALICE}", tokens[-1]))

        threads = [threading.Thread(target=traffic) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: len(answers) > 20, "traffic before the rotation")
            fetched = curl([f"http://127.0.0.1:{self.provider_port}/control/ES256/asked"]).json()["asked"].get("jwks", 0)
            kids = self.control("rotate")["kids"]
            self.assertEqual(len(kids), 2)
            tokens.append(self.user_token("alice", "ES256"))
            before = len(answers)
            wait_until(lambda: len(answers) > before + 40, "traffic after the rotation")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual([answer for answer in answers if answer.status != 200], [])
        fetched_after = curl([f"http://127.0.0.1:{self.provider_port}/control/ES256/asked"]).json()["asked"].get("jwks", 0)
        self.assertEqual(fetched_after, fetched + 1, "the new key was fetched once")

    def test_with_the_provider_gone_known_tokens_go_on_and_a_restart_recovers_by_itself(self):
        self.wait_ready()
        token = self.user_token("alice", "ES256")
        fresh = self.user_token("alice", "ES256")
        self.assertEqual(self.ask(f"/customers/{ALICE}", token).status, 200)
        self.provider.stop()
        self.assertEqual(self.ask(f"/customers/{ALICE}", token).status, 200, "a token seen before")
        self.assertEqual(self.ask(f"/customers/{ALICE}", fresh).status, 200, "a token not seen, by a key that is known")

        self.gateway.stop()
        self.gateway = self.start_gateway()
        answer = self.ask(f"/customers/{ALICE}", token)
        self.assertEqual(answer.status, 503, "without keys nothing can be told about a token")
        self.assertIn("retry-after", answer.headers)
        self.assertNotIn("www-authenticate", answer.headers)
        self.assertEqual(self.admin("/readyz").status, 503)
        self.assertEqual(self.admin("/livez").status, 200)

        self.provider = self.start_provider(self.provider_port)
        token = self.user_token("alice", "ES256")
        wait_until(lambda: self.ask(f"/customers/{ALICE}", token).status == 200, "recovery", 60)
        self.assertEqual(self.admin("/readyz").status, 200)


if __name__ == "__main__":
    unittest.main()
