"""The gateway before the sites: for each site and each way of declaring its quirks one upstream and one family of hosts."""

import base64
import hashlib
import hmac
import json
import time

from support import free_port

SECRET = b"of the proof of one view, and of nothing else"
QUIRKS = {
    "default": {},
    "never": {"case": "never", "path_parameters": "never", "trailing_dot": "never", "trailing_slash": "never", "encoded_slash": "never",
              "double_decoding": "never", "method_override": "ignore", "form_parameters": "separate"},
}
NOBODY = '{token: none, network: ["192.0.2.0/24"]}'

# A strict route beside a lax one of every kind. `{name}` is a site and its quirks.
POLICY = """\
version: 1
policy: {name}
hosts: ["*.{domain}"]
upstream: {name}
issuers: [alice]
routes:
  - {{name: strict, path: "/admin/{{*rest}}", methods: "*", unbound: [rest], require: {nobody}}}
  - {{name: strict-front, path: "/index.php/{{*rest}}", methods: "*", unbound: [rest], require: {nobody}}}
  - {{name: strict-stock, path: /desk/stock, methods: "*", require: {nobody}}}
  - {{name: strict-keys, path: "/shop/{{item}}/keys", methods: "*", unbound: [item], require: {nobody}}}
  - {{name: orders, path: /orders, methods: "*", require: {{token: none, request: {{query.org: org-a}}}}}}
  - {{name: order, path: "/orders/{{order}}", methods: "*", unbound: [order], require: {{token: none, request: {{query.org: org-a}}}}}}
  - {{name: heads, path: /heads, methods: "*", require: {{token: none, request: {{header.X-Org: org-a}}}}}}
  - {{name: strict-things, path: "/things/{{id}}", methods: [DELETE], unbound: [id], require: {nobody}}}
  - {{name: things, path: "/things/{{id}}", methods: [GET, POST, PUT, PATCH, OPTIONS], unbound: [id], require: public}}
  - {{name: customers, path: "/customers/{{customer}}", methods: "*", require: {{subject: "{{customer}}"}}}}
  - {{name: lax, path: "/{{*rest}}", methods: "*", unbound: [rest], require: public}}
"""
STRICT_HOST = """\
version: 1
policy: {name}-admin
hosts: [admin.{domain}]
upstream: {name}
routes:
  - {{path: "/{{*rest}}", methods: "*", unbound: [rest], require: {nobody}}}
"""


def domain(name):
    """The hosts of a site and its quirks are below this."""
    return f"{name}.example.com"


def write(directory, ports, runs):
    """Writes a configuration for `runs`, pairs of a site and of what is said of its quirks; gives the ports of HTTP/1.1 and of HTTP/2."""
    http1, http2, admin = free_port(), free_port(), free_port()
    folder = directory / "one-view-policies"
    folder.mkdir()
    upstreams = []
    for site, quirks in runs:
        name = f"{site}-{quirks}" if quirks != site else f"{site}-preset"
        said = json.dumps(QUIRKS.get(quirks, {"server": quirks}))
        upstreams.append(f'  {name}: {{endpoints: ["http://127.0.0.1:{ports[site]}"], quirks: {said}}}')
        (folder / f"{name}.yaml").write_text(POLICY.format(name=name, domain=domain(name), nobody=NOBODY))
        (folder / f"{name}-admin.yaml").write_text(STRICT_HOST.format(name=name, domain=domain(name), nobody=NOBODY))
    (directory / "one-view.secret").write_bytes(SECRET)
    (directory / "one-view.secret").chmod(0o600)
    (directory / "one-view.yaml").write_text("\n".join([
        "version: 1",
        "listeners:",
        f'  - {{address: "127.0.0.1:{http1}", protocols: [http/1.1]}}',
        f'  - {{address: "127.0.0.1:{http2}", protocols: [h2]}}',
        f'admin: {{address: "127.0.0.1:{admin}"}}',
        "issuers:",
        "  - {name: alice, issuer: https://issuer.example.com, audiences: [one-view], secret_file: one-view.secret}",
        "policies: one-view-policies",
        "audit: {path: /dev/null}",
        "logging: {level: error}",
        "upstreams:",
        *upstreams,
    ]) + "\n")
    return http1, http2


# Alice, and people who have chosen names that some server reads as Bob's.
SUBJECTS = ["alice", "bob;x", "bob.", "bob ", "bob%20", "bob/", "bob\\x", "bob;/alice", "%62ob", "BOB", "bob%00", "b%6fb;"]


def token(subject):
    """A token of somebody's, good for a day."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    now = int(time.time())
    signed = part({"alg": "HS256", "typ": "at+jwt"}) + b"." + part({
        "iss": "https://issuer.example.com", "aud": "one-view", "sub": subject, "client_id": "app", "jti": "1", "iat": now, "exp": now + 86400})
    return signed + b"." + base64.urlsafe_b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).rstrip(b"=")
