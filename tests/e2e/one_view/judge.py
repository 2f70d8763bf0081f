"""Says of an answer whether the server served what the gateway had not allowed."""

from urllib.parse import unquote_to_bytes


def disagreement(answer):
    """What the server did that policy had not allowed, in a word; `None` where both agree.

    The rules are those of `POLICY` in `gateway.py`: whatever reaches the strict zone, the administrator's host, another organisation's orders,
    another customer or the method DELETE has got past them.
    """
    if b"one-view" not in answer.body:
        return "extra answer" if b"extra=" in answer.body else None
    lines = [line.split(b"=", 1) for line in answer.body.replace(b"\r", b"").split(b"\n") if b"=" in line]
    said = {}
    for name, value in lines:
        said.setdefault(name.strip(), []).append(value)
    if b"extra" in said:
        return "extra answer"
    if b"strict" in said.get(b"zone", []):
        return "strict path"
    if b"admin" in said.get(b"vhost", []):
        return "strict host"
    if any(b"evil" in value for value in said.get(b"subject", [])):
        return "forged identity"
    return narrower(said)


def narrower(said):
    """The zones in which a value decides."""
    zone = said.get(b"zone", [b""])[-1]
    if zone == b"orders" and set(said.get(b"org", [b""])) != {b"org-a"}:
        return "another organisation's query"
    if zone == b"heads":
        values = {part.strip() for value in said.get(b"xorg", [b""]) for part in value.split(b",")}
        if values != {b"org-a"}:
            return "another organisation's header"
    if zone == b"things" and any(value.upper().strip() == b"DELETE" for value in said.get(b"method", [])):
        return "strict method"
    if zone == b"customers" and b"customer" in said:
        own = {unquote_to_bytes(value) for value in said.get(b"subject", []) if value}
        if set(said[b"customer"]) != own if own else b"bob" in said[b"customer"]:
            return "another customer"
    return None
