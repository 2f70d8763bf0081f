"""Counts what one request costs in instructions of the release build, and compares with instructions.json, so that a change
that makes requests dearer is found where times would say nothing. `TORWART_INSTRUCTIONS=keep` writes down what is counted as
what is expected.

A change of much code or of dependencies is dearer because the compiler's profile does not fit any more: benches/profile/train.
"""

import json
import os

from counted import ORGANIZATION, Counted
from support import ALICE, HERE, unittest

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


class Instructions(Counted):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.start_counted({"crm.yaml": POLICY})

    def test_a_request_costs_what_is_written_down(self):
        found, connection, hot = {}, self.connect(), self.token()
        self.addCleanup(connection.close)
        for name, (path, status) in HOT.items():
            ask = lambda path=path, status=status: self.ask_over(connection, path, hot, status)
            for _ in range(30):
                ask()
            found[name] = self.count([ask] * REQUESTS)
        tokens = [self.token(number + 1) for number in range(100)]
        found[COLD] = self.count([lambda token=token: self.ask_over(connection, "/data", token) for token in tokens])
        print(json.dumps(found, indent=2))
        if os.environ.get("TORWART_INSTRUCTIONS") == "keep":
            EXPECTED.write_text(json.dumps(found, indent=2) + "\n")
        expected = json.loads(EXPECTED.read_text())
        self.assertEqual(list(expected), list(found))
        dearer = {name: (count, expected[name]) for name, count in found.items() if count > expected[name] * MOST}
        self.assertEqual(dearer, {}, "dearer than instructions.json says, counted and expected; is the profile old (docs/performance.md)?")
        cheaper = [name for name, count in found.items() if count < expected[name] * LEAST]
        if cheaper:
            print(f"cheaper than {EXPECTED.name} says, write it down with TORWART_INSTRUCTIONS=keep: {', '.join(cheaper)}")


if __name__ == "__main__":
    unittest.main()
