"""What an editor makes of `torwart schema`: the YAML language server of VS Code, Neovim and others, over its own protocol."""

import itertools
import json
import queue
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from support import HERE, NODE, ROOT, TORWART, wait_until

SERVER = HERE / "node_modules/yaml-language-server/bin/yaml-language-server"
KINDS = ("config", "policy", "test")

POLICY = """\
version: 1
policy: crm
hosts: [api.example.com]
upstream: crm
routes:
  - path: /customers/{customer}
    methods: [GET]
    require:
      scope: crm
"""

CONFIG = """\
version: 1
listeners:
  - address: 127.0.0.1:8080
issuers:
  - name: shoen
    preset: kusy
    issuer: https://auth.example.com
    audiences: [https://api.example.com]
upstreams:
  crm:
    endpoints: ["http://127.0.0.1:9000"]
"""

TEST = """\
version: 1
personas:
  alice: {issuer: shoen, sub: alice, client_id: app, scope: crm}
tests:
  - name: a customer reads her own record
    as: alice
    request: GET https://api.example.com/customers/alice
    expect: allow
"""


class Server:
    """One language server, asked over its standard input and output."""

    def __init__(self, schemas):
        self.settings = {
            "yaml": {"schemas": schemas, "validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}},
            "http": {}, "[yaml]": {}, "editor": {}, "files": {},
        }
        self.process = subprocess.Popen([NODE, SERVER, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.numbers = itertools.count(1)
        self.answers, self.published = queue.Queue(), {}
        self.arrived = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": {
            "workspace": {"configuration": True},
            "textDocument": {"completion": {"completionItem": {"documentationFormat": ["markdown"]}}},
        }})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": self.settings})

    def send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def tell(self, method, params):
        self.send({"method": method, "params": params})

    def ask(self, method, params):
        number = next(self.numbers)
        self.send({"id": number, "method": method, "params": params})
        while True:
            answer = self.answers.get(timeout=60)
            if answer["id"] == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]

    def listen(self):
        while True:
            length = 0
            while (line := self.process.stdout.readline().strip()):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if not length:
                return
            message = json.loads(self.process.stdout.read(length))
            if message.get("method") == "workspace/configuration":
                wanted = [self.settings.get(item.get("section")) for item in message["params"]["items"]]
                self.send({"id": message["id"], "result": wanted})
            elif "method" in message and "id" in message:
                self.send({"id": message["id"], "result": None})
            elif message.get("method") == "textDocument/publishDiagnostics":
                with self.arrived:
                    self.published[message["params"]["uri"]] = message["params"]["diagnostics"]
                    self.arrived.notify_all()
            elif "id" in message:
                self.answers.put(message)

    def open(self, kind, text):
        uri = f"file:///editor/{kind}/{next(self.numbers)}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return uri

    def diagnostics(self, kind, text):
        uri = self.open(kind, text)
        with self.arrived:
            if not self.arrived.wait_for(lambda: uri in self.published, timeout=60):
                raise AssertionError(f"nothing is said about {uri}")
            return self.published[uri]

    def at(self, kind, text, mark="|"):
        """The document opened, and the place of the mark, which is taken out."""
        before = text[: text.index(mark)]
        place = {"line": before.count("\n"), "character": len(before.rpartition("\n")[2])}
        return {"textDocument": {"uri": self.open(kind, text.replace(mark, "", 1))}, "position": place}

    def completions(self, kind, text):
        found = self.ask("textDocument/completion", self.at(kind, text))
        items = found["items"] if isinstance(found, dict) else found or []
        return {item["label"]: item for item in items}

    def hover(self, kind, text):
        found = self.ask("textDocument/hover", self.at(kind, text))
        return json.dumps(found["contents"]) if found else ""

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


class Editors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="torwart-schemas-")
        cls.addClassCleanup(directory.cleanup)
        schemas = {}
        for kind in KINDS:
            path = Path(directory.name) / f"{kind}.json"
            path.write_bytes(subprocess.run([TORWART, "schema", kind], check=True, capture_output=True).stdout)
            schemas[path.as_uri()] = f"/editor/{kind}/*.yaml"
        cls.server = Server(schemas)
        cls.addClassCleanup(cls.server.stop)
        # The server asks for its settings and reads the schemas in its own time, and says nothing about a document before.
        wait_until(lambda: cls.server.diagnostics("policy", "misspelt: 1\n"), "the language server has the schemas")

    def offers(self, kind, text, *wanted, never=()):
        found = self.server.completions(kind, text)
        for label in wanted:
            self.assertIn(label, found, f"offered are {sorted(found)}")
            documentation = found[label].get("documentation")
            self.assertTrue(documentation, f"`{label}` comes without a word about it")
        for label in never:
            self.assertNotIn(label, found)

    def offers_values(self, kind, text, *wanted):
        found = self.server.completions(kind, text)
        for label in wanted:
            self.assertIn(label, found, f"offered are {sorted(found)}")

    def complains(self, kind, text, line, *words):
        found = self.server.diagnostics(kind, text)
        said = [one["message"] for one in found if one["range"]["start"]["line"] == line]
        self.assertTrue(said, f"nothing about line {line + 1} in {found}")
        for word in words:
            self.assertTrue(any(word in message for message in said), f"no `{word}` in {said}")

    def test_a_route_completes_with_its_keys(self):
        self.offers("policy", POLICY + "    |\n", "client_credentials", "params", "forward", "narrow", "limit", "cors", "mode",
                    never=("hosts", "upstream", "scope", "path"))

    def test_a_document_completes_with_its_keys(self):
        self.offers("policy", "version: 1\n|\n", "policy", "hosts", "base_path", "upstream", "routes", never=("path", "methods"))

    def test_conditions_complete_wherever_they_stand(self):
        keys = ("subject", "organization", "permission", "any_of", "not", "network", "certificate")
        self.offers("policy", POLICY + "      |\n", *keys, never=("path", "methods"))
        self.offers("policy", POLICY + "      any_of:\n        - |\n", *keys)
        self.offers("policy", POLICY + "      not:\n        |\n", "subject", "client")

    def test_words_complete_with_the_words_that_there_are(self):
        self.offers_values("policy", POLICY + "    mode: |\n", "enforce", "observe")
        self.offers_values("policy", POLICY + "    client_credentials: |\n", "enforce", "deny", "bypass")
        self.offers_values("policy", POLICY.replace("crm\nhosts", "crm\nforward: {authorization: |}\nhosts"), "strip", "keep")
        self.offers_values("config", CONFIG + "    protocol: |\n", "http1", "h2")
        self.offers_values("test", TEST.replace("expect: allow", "expect: |"), "allow", "deny")
        self.offers_values("test", TEST.replace("expect: allow", "expect: {deny: |}"), "subject", "scope")

    def test_an_upstream_an_issuer_and_a_listener_complete_with_their_keys(self):
        self.offers("config", CONFIG + "    |\n", "timeouts", "tls", "quirks", "balance", "health", never=("audiences", "listeners"))
        self.offers("config", CONFIG.replace("upstreams:", "    |\nupstreams:"), "jwks_uri", "leeway", "introspection", "claims",
                    never=("endpoints",))
        self.offers("config", CONFIG.replace("issuers:", "    |\nissuers:"), "tls", "protocols", "proxy_protocol")
        self.offers("config", CONFIG + "|\n", "limits", "audit", "admin", "trusted_proxies")

    def test_a_test_completes_with_its_keys(self):
        self.offers("test", TEST.replace("    as: alice\n", "    |\n"), "as")
        self.offers("test", TEST + "|\n", never=("name",))
        self.offers("test", TEST.replace("request: GET https://api.example.com/customers/alice", "request:\n      |"),
                    "method", "url", "headers", "body", "address", "certificate", "time")
        self.offers("test", TEST.replace("expect: allow", "expect:\n      |"), "deny", "status", "allow")

    def test_hovering_tells_what_a_key_means(self):
        for kind, text, words in (
            ("policy", POLICY.replace("    require:", "    req|uire:"), "access is never a default"),
            ("policy", POLICY.replace("      scope:", "      sc|ope:"), "granted scopes"),
            ("policy", POLICY.replace("upstream:", "up|stream:"), "torwart.yaml"),
            ("config", CONFIG.replace("    audiences:", "    aud|iences:"), "must contain one of these"),
            ("config", CONFIG.replace("    endpoints:", "    end|points:"), "Where it listens"),
            ("test", TEST.replace("    expect:", "    exp|ect:"), "must become of it"),
            ("test", TEST.replace("personas:", "per|sonas:"), "Who asks"),
        ):
            with self.subTest(kind=kind, words=words):
                self.assertIn(words, self.server.hover(kind, text))

    def test_a_misspelt_key_is_marked_where_it_stands(self):
        self.complains("policy", POLICY.replace("    methods:", "    metods:"), 6, "metods")
        self.complains("policy", POLICY.replace("      scope:", "      scopes:"), 8, "scopes")
        self.complains("policy", POLICY.replace("upstream:", "upstreams:"), 3, "upstreams")
        self.complains("policy", POLICY + "    client_credentials: {bypas: [batch]}\n", 9, "bypas")
        self.complains("policy", POLICY.replace("scope: crm", "claim: {tenant: {equal: a}}"), 8, "equal")
        self.complains("config", CONFIG.replace("    audiences:", "    audience:"), 7, "audience")
        self.complains("config", CONFIG.replace("    endpoints:", "    endpoint:"), 10, "endpoint")
        self.complains("test", TEST.replace("    expect:", "    expects:"), 7, "expects")
        self.complains("test", TEST.replace("    as: alice", "    ass: alice"), 5, "ass")

    def test_a_wrong_value_and_a_missing_key_are_marked(self):
        self.complains("policy", POLICY.replace("version: 1", "version: 2"), 0)
        self.complains("policy", POLICY + "    mode: observing\n", 9, "observe")
        self.complains("policy", POLICY.replace("require:\n      scope: crm", "require: publik"), 7, "public")
        self.complains("policy", POLICY.replace("    require:\n      scope: crm\n", ""), 5, "require")
        self.complains("policy", POLICY.replace("[GET]", "GET"), 6)
        self.complains("config", CONFIG + "    protocol: http3\n", 11)
        self.complains("test", TEST.replace("expect: allow", "expect: allowed"), 7)

    def test_what_is_right_is_left_alone(self):
        for kind, text in (("policy", POLICY), ("config", CONFIG), ("test", TEST)):
            self.assertEqual(self.server.diagnostics(kind, text + "x-owner: team\n"), [])

    def test_every_file_that_is_shipped_is_right(self):
        files = {
            "policy": [path for folder in ("policies", "docs/recipes") for path in (ROOT / folder).rglob("*.yaml")
                       if not path.name.endswith(".test.yaml") and path.name != "torwart.yaml"],
            "test": [path for folder in ("policies", "docs/recipes") for path in (ROOT / folder).rglob("*.test.yaml")],
            "config": [ROOT / "tests/config/everything.yaml", *ROOT.rglob("docs/**/torwart.yaml")],
        }
        for kind, paths in files.items():
            self.assertTrue(paths, kind)
            for path in paths:
                with self.subTest(path=path.relative_to(ROOT)):
                    self.assertEqual(self.server.diagnostics(kind, path.read_text()), [])


if __name__ == "__main__":
    unittest.main()
