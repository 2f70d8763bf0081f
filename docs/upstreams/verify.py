"""Who asks, according to the gateway's signed assertion. Needs the package `cryptography`; safe to share between threads.

    gateway = Gateway("https://gateway.example.com", "crm", "http://10.0.0.5:9901/.well-known/torwart/jwks.json")
    caller = gateway.verify(environ.get("HTTP_X_AUTH_ASSERTION"))   # raises Refused: answer 401
"""

import base64
import json
import threading
import time
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

TYPE = "torwart-assertion+jwt"
LEEWAY = 5  # seconds that the two clocks may differ
FRESH = 300  # seconds after which the key set is fetched again
STALE = 3600  # seconds after which a key set is not believed any more, should the gateway not answer
PAUSE = 10  # seconds between two fetches, whatever key ids requests make up


class Refused(Exception):
    """The request did not come through the gateway, or not for this server, or not now."""


class Gateway:
    def __init__(self, issuer, audience, key_set_url):
        self.issuer, self.audience, self.key_set_url = issuer, audience, key_set_url
        self.keys, self.fetched, self.tried = {}, float("-inf"), float("-inf")
        self.lock = threading.Lock()

    def verify(self, assertion):
        """The claims; raises Refused at the slightest doubt."""
        if not isinstance(assertion, str) or len(assertion) > 16384 or assertion.count(".") != 2:
            raise Refused("no assertion")
        header, payload, signature = assertion.split(".")
        fields = read(header)
        if fields.get("typ") != TYPE or fields.get("alg") != "ES256" or "crit" in fields:
            raise Refused("not an assertion")
        key, raw = self.key(fields.get("kid")), decode(signature)
        if key is None or len(raw) != 64:
            raise Refused("not signed by the gateway")
        try:
            pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
            key.verify(pair, f"{header}.{payload}".encode("ascii"), ECDSA(SHA256()))
        except (InvalidSignature, ValueError):
            raise Refused("not signed by the gateway") from None
        claims, now = read(payload), time.time()
        if claims.get("iss") != self.issuer or claims.get("aud") != self.audience:
            raise Refused("of another gateway, or for another server")
        if type(claims.get("exp")) is not int or type(claims.get("iat")) is not int:
            raise Refused("without a time")
        if not claims["iat"] - LEEWAY <= now < claims["exp"] + LEEWAY:
            raise Refused("expired, or not yet valid")
        return claims

    def key(self, kid):
        with self.lock:
            now = time.monotonic()
            if (now - self.fetched > FRESH or kid not in self.keys) and now - self.tried > PAUSE:
                self.tried = now
                try:
                    with urllib.request.urlopen(self.key_set_url, timeout=2) as answer:
                        found = json.loads(answer.read(65536))["keys"]
                    self.keys, self.fetched = {jwk["kid"]: public(jwk) for jwk in found}, now
                except (OSError, ValueError, KeyError, TypeError):
                    pass  # the keys at hand are good for a while
            return self.keys.get(kid) if isinstance(kid, str) and now - self.fetched <= STALE else None


def public(jwk):
    if (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) != ("EC", "P-256", "ES256", "sig"):
        raise ValueError("another kind of key")
    x, y = (int.from_bytes(decode(jwk[name]), "big") for name in ("x", "y"))
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()


def decode(text):
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except ValueError:
        raise Refused("not base64url") from None


def read(part):
    try:
        found = json.loads(decode(part))
    except ValueError:
        raise Refused("not JSON") from None
    if not isinstance(found, dict):
        raise Refused("not an object")
    return found
