"""Starts the real programs that the end-to-end tests are made of, and asks through curl as users do."""

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
import unittest
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TORWART = Path(os.environ.get("TORWART", ROOT / "target/image/torwart"))
NODE = os.environ.get("NODE", "node")
ALICE = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111"
BOB = "0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02"
RESOURCE = "https://api.example.com"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, seconds=20):
    """Asks again and again; nothing here sleeps for a fixed time and hopes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


def port_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Process:
    """A program with its output in a file; ended with the test class."""

    def __init__(self, name, command, directory, port=None, **options):
        self.log = directory / f"{name}-{secrets.token_hex(3)}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options)
        if port:
            try:
                wait_until(lambda: port_open(port) or self.process.poll() is not None, f"{name} listens on {port}")
            except AssertionError:
                self.stop()
                raise AssertionError(f"{name} does not listen:\n{self.output()}") from None
            if self.process.poll() is not None:
                raise AssertionError(f"{name} ended with {self.process.returncode}:\n{self.output()}")

    def output(self):
        return self.log.read_text(errors="replace")

    def resident_bytes(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def stop(self, signal_number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


class Answer:
    """What curl printed of an answer."""

    def __init__(self, status, headers, body, version):
        self.status, self.headers, self.body, self.version = status, headers, body, version

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:500]!r}"


class EndToEnd(unittest.TestCase):
    """One directory, one certificate authority, and whatever programs a class starts, stopped in reverse order."""

    @classmethod
    def setUpClass(cls):
        cls.directory = Path(tempfile.mkdtemp(prefix="torwart-e2e-"))
        cls.directory.chmod(0o755)
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        make_certificates(cls.directory)

    @classmethod
    def start(cls, name, command, port=None, **options):
        process = Process(name, [str(part) for part in command], cls.directory, port, **options)
        cls.addClassCleanup(process.stop)
        return process

    @classmethod
    def start_provider(cls, port=None):
        cls.provider_port = port or free_port()
        return cls.start("provider", [NODE, HERE / "provider.mjs", cls.provider_port], cls.provider_port)

    @classmethod
    def start_gunicorn(cls):
        port = free_port()
        cls.start("gunicorn", ["gunicorn", "--chdir", HERE / "upstreams", "--bind", f"127.0.0.1:{port}",
                               "--workers", "1", "--threads", "8", "--keep-alive", "30", "wsgi:application"], port)
        return port

    @classmethod
    def start_php(cls):
        """nginx in front of php-fpm, the way PHP is usually served on Debian."""
        directory = cls.directory
        fpm = shutil.which("php-fpm") or shutil.which("php-fpm8.2")
        (directory / "fpm.conf").write_text(textwrap.dedent(f"""\
            [global]
            error_log = {directory}/fpm-error.log
            daemonize = no
            [www]
            user = {'www-data' if os.getuid() == 0 else os.environ.get('USER', 'nobody')}
            listen = {directory}/fpm.sock
            listen.mode = 0666
            pm = static
            pm.max_children = 4
            """))
        cls.start("php-fpm", [fpm, "-y", directory / "fpm.conf", "-n", "-R"])
        wait_until(lambda: (directory / "fpm.sock").exists(), "php-fpm's socket")
        return cls.start_nginx(f"""\
            client_max_body_size 0;
            location / {{
              include /etc/nginx/fastcgi_params;
              fastcgi_param SCRIPT_FILENAME {HERE}/upstreams/php/index.php;
              fastcgi_pass unix:{directory}/fpm.sock;
            }}
            """)

    @classmethod
    def start_nginx(cls, server):
        """nginx with these directives of a server: its port."""
        port, directory = free_port(), cls.directory
        (directory / "nginx.conf").write_text(f"""\
            daemon off;
            pid {directory}/nginx.pid;
            error_log {directory}/nginx-error.log;
            events {{}}
            http {{
              access_log off;
              client_body_temp_path {directory}/body;
              fastcgi_temp_path {directory}/fastcgi;
              proxy_temp_path {directory}/proxy;
              uwsgi_temp_path {directory}/uwsgi;
              scgi_temp_path {directory}/scgi;
              server {{
                listen 127.0.0.1:{port};
                {server}
              }}
            }}
            """)
        cls.start("nginx", ["nginx", "-c", directory / "nginx.conf", "-p", directory], port)
        return port

    @classmethod
    def issuer_url(cls, name):
        """The issuer of an algorithm or of a family, see provider.mjs."""
        return f"http://127.0.0.1:{cls.provider_port}/{name}"

    @staticmethod
    def issuer(name, said):
        """An issuer in torwart.yaml: a URL of the kusy family, or whatever differs from that."""
        said = said if isinstance(said, dict) else {"issuer": said}
        return {"name": name, "preset": "kusy", "audiences": [RESOURCE], "environment": "integration"} | said

    @classmethod
    def write_gateway(cls, upstreams, policies, issuers, extra="", tls=""):
        """Writes torwart.yaml with its policies; `extra` is more top-level YAML, `tls` more of the listener's."""
        cls.port, cls.admin_port = free_port(), free_port()
        folder = cls.directory / "policies"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in policies.items():
            (folder / name).write_text(textwrap.dedent(text))
        lines = [
            "version: 1",
            "workers: 2",
            "listeners:",
            f'  - {{address: "127.0.0.1:{cls.port}", tls: {{certificates: [{{certificate: server.pem, key: server.key}}]{tls}}}}}',
            f'admin: {{address: "127.0.0.1:{cls.admin_port}"}}',
            "audit: {path: audit.jsonl}",
            "issuers:",
            *[f"  - {json.dumps(cls.issuer(name, said))}" for name, said in issuers.items()],
            "upstreams:",
            *[f'  {name}: {{endpoints: ["http://127.0.0.1:{port}"]}}' for name, port in upstreams.items()],
        ]
        path = cls.directory / "torwart.yaml"
        path.write_text("\n".join(lines) + "\n" + textwrap.dedent(extra))
        return path

    @classmethod
    def start_gateway(cls, config=None):
        gateway = cls.start("torwart", [TORWART, "run", "--config", config or cls.directory / "torwart.yaml"], cls.port)
        wait_until(lambda: port_open(cls.admin_port), "the admin listener")
        return gateway

    @classmethod
    def wait_ready(cls):
        wait_until(lambda: cls.admin("/readyz").status == 200, "the gateway is ready")

    @classmethod
    def admin(cls, path):
        return curl([f"http://127.0.0.1:{cls.admin_port}{path}"])

    @classmethod
    def ask(cls, path, token=None, options=(), host="api.example.com"):
        """One request through the gateway, over TLS that curl verifies."""
        headers = ["-H", f"Authorization: Bearer {token}"] if token else []
        return curl(["--cacert", str(cls.directory / "ca.pem"), "--connect-to", f"{host}:443:127.0.0.1:{cls.port}",
                     *headers, *options, f"https://{host}{path}"])

    @classmethod
    def machine_token(cls, issuer="RS256", scope="crm contracts:read", client="kusy", options=()):
        answer = curl(["-u", f"{client}:{client}-secret", *options,
                       "-d", urlencode({"grant_type": "client_credentials", "scope": scope}), f"{cls.issuer_url(issuer)}/token"])
        assert answer.status == 200, answer
        return answer.json()["access_token"]

    @classmethod
    def user_token(cls, who="alice", issuer="RS256", scope="openid crm contracts:read", options=()):
        """The authorization code flow with PKCE (RFC 7636), as a browser and its application would go through it."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        jar = cls.directory / f"cookies-{secrets.token_hex(4)}"
        callback = "http://127.0.0.1:9/callback"
        url = f"{cls.issuer_url(issuer)}/auth?" + urlencode({
            "client_id": "app", "response_type": "code", "redirect_uri": callback, "scope": scope,
            "code_challenge": challenge, "code_challenge_method": "S256", "login_hint": who, "state": "s",
        })
        for _ in range(10):
            answer = curl(["-b", str(jar), "-c", str(jar), url])
            assert answer.status in (302, 303), answer
            target = answer.headers["location"]
            url = target if "://" in target else f"http://127.0.0.1:{cls.provider_port}{target}"
            if url.startswith(callback):
                break
        code = parse_qs(urlsplit(url).query)["code"][0]
        answer = curl(["-u", "app:app-secret", *options, "-d", urlencode({
            "grant_type": "authorization_code", "code": code, "redirect_uri": callback, "code_verifier": verifier,
        }), f"{cls.issuer_url(issuer)}/token"])
        assert answer.status == 200, answer
        return answer.json()["access_token"]


def curl(arguments):
    """Runs curl and takes its output apart: status, headers with lower-cased names, body, HTTP version."""
    marker = "\n--curl-says "
    command = ["curl", "-sS", "--max-time", "120", "-D", "/dev/stderr", "-w", marker + "%{http_code} %{http_version}", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=150, check=False)
    body, _, said = done.stdout.rpartition(marker.encode())
    status, version = said.decode().split() if said else ("000", "0")
    heads = re.split(r"\r\n\r\n", done.stderr.decode("latin-1"))
    head = next((part for part in reversed(heads) if part.startswith("HTTP/")), "")
    headers = {}
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = f"{headers[name.lower()]}, {value.strip()}" if name.lower() in headers else value.strip()
    if status == "000":
        headers["curl-error"] = done.stderr.decode("latin-1").strip()
    return Answer(int(status), headers, body, version)


def make_certificates(directory):
    """A certificate authority and one server certificate, made by openssl."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "7", "-subj", "/CN=End-to-end CA")
    openssl("req", "-new", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=api.example.com")
    (directory / "san").write_text("subjectAltName=DNS:api.example.com,DNS:*.example.com,DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "7",
            "-extfile", "san", "-out", "server.pem")
    (directory / "client.san").write_text("extendedKeyUsage=clientAuth\n")
    for client in ("client", "other"):
        openssl("req", "-new", *key, "-keyout", f"{client}.key", "-out", f"{client}.csr", "-subj", f"/CN={client}")
        openssl("x509", "-req", "-in", f"{client}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "7",
                "-extfile", "client.san", "-out", f"{client}.pem")
