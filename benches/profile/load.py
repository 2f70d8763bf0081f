"""What a gateway does in its days, in some seconds: the load that benches/profile/train counts.

What is missing here is taken for rare, and compiled to be small instead of fast. Nothing is measured, so nothing has to
be quick but h2load; every answer must have the status that is announced.
"""

import os
import re
import shutil
import subprocess

from counted import ORGANIZATION, Counted
from support import ALICE, ROOT, TORWART
from test_growth import documents
from test_instructions import POLICY

MORE = """\
  - {path: "/files/{name}", methods: [GET, POST], unbound: [name], require: {scope: crm}}
"""


class Load(Counted):
    @classmethod
    def start_upstream(cls):
        """nginx: a kibibyte for most paths, a mebibyte for `/files/big`, and an answer of unknown length for `/files/chunked`."""
        files = cls.directory / "www/files"
        files.mkdir(parents=True)
        (files / "big").write_bytes(os.urandom(1 << 20))
        (files / "chunked").write_text("an answer of unknown length\n" * 1000)
        return cls.start_nginx(f"""\
            root {files.parent};
            default_type application/json;
            keepalive_requests 1000000;
            location / {{ return 200 "{'x' * 1024}"; }}
            location = /files/big {{ }}
            location = /files/chunked {{ gzip on; gzip_types *; gzip_proxied any; }}
            """)

    def h2load(self, path, token, requests, clients, options=(), status="2xx"):
        """Requests over HTTP/2, or over HTTP/1.1 with the option `--h1`."""
        authorization = ["-H", f"authorization: Bearer {token}"] if token else []
        command = ["h2load", "-n", requests, "-c", clients, f"--connect-to=127.0.0.1:{self.port}", *authorization, *options,
                   f"https://api.example.com{path}"]
        said = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
        self.assertIn(f"{requests} {status}", re.search(r"^status codes: .*$", said, re.M)[0], said)

    def gateway_at_work(self):
        token = self.token()
        body = self.directory / "body.json"
        body.write_text('{"order": 4711}' * 200)
        for options, clients in [(["--h1"], 32), (["-m", "16"], 8)]:
            self.h2load("/data", token, 20_000, clients, options)
            self.h2load("/orders-99/4711", token, 5000, clients, options)
            self.h2load(f"/customers/{ALICE}/contracts/4711", token, 3000, clients, options)
            self.h2load(f"/lists?page=2&org_uid={ORGANIZATION}&sort=name", token, 3000, clients, options)
            self.h2load(f"/customers/%35{ALICE[1:]}/contracts/%34711", token, 500, clients, options)
            self.h2load("/public", None, 3000, clients, options)
            self.h2load("/files/big", token, 200, clients, options)
            self.h2load("/files/chunked", token, 1000, clients, [*options, "-H", "accept-encoding: gzip"])
            self.h2load("/files/note", token, 3000, clients, [*options, "-d", body, "-H", "content-type: application/json"])
            self.h2load("/forbidden", token, 1000, clients, options, "4xx")
            self.h2load("/data", None, 1000, clients, options, "4xx")
            for _ in range(10):
                self.h2load("/data", token, 100, 100, options)
        # One at a time, and tokens never seen before.
        with self.connect() as connection:
            for _ in range(1000):
                self.ask_over(connection, "/data", token)
            for number in range(500):
                self.ask_over(connection, "/data", self.token(number + 1))
        self.admin("/metrics")

    def commands_at_work(self, config):
        """What developers run, and starting with a thousand routes."""
        policies = config.parent / "policies"
        changed = self.directory / "changed"
        self.run_torwart("check", "--config", config)
        self.run_torwart("replay", "--config", config, self.directory / "audit.jsonl")
        self.run_torwart("test", ROOT / "policies", "--coverage")
        shutil.copytree(policies, changed)
        (large,) = documents(1000, 1).values()
        (policies / "large.yaml").write_text(large)
        (changed / "large.yaml").write_text(large.replace("/orders-00999/", "/other/"))
        self.run_torwart("diff", "--config", config, policies, changed, status=1)
        self.start_gateway(config).stop()

    def run_torwart(self, *command, status=0):
        done = subprocess.run([str(part) for part in (TORWART, *command)], capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)


def main():
    Load.setUpClass()
    try:
        load = Load()
        config = load.configure({"crm.yaml": POLICY + MORE})
        gateway = load.start_gateway(config)
        load.gateway_at_work()
        load.assertEqual(gateway.stop(), 0, gateway.output())
        load.commands_at_work(config)
    finally:
        Load.doClassCleanups()


if __name__ == "__main__":
    main()
