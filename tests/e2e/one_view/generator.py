"""Makes requests that some server might read otherwise than the gateway. Seeded: the same seed and number, the same request.

A case begins with something that a policy guards - a path, a query parameter, a header, a host, a method - and goes through one to four
changes, each of which some server is known to undo.
"""

import random
from urllib.parse import quote

from .message import Request

STRICT = ["/admin", "/admin/", "/admin/users/7", "/admin/keys.txt", "/admin/index.php", "/desk/stock", "/shop/a1/keys", "/customers/bob"]
LAX = ["/", "/shop/a1/price", "/desk/stocks", "/administrator", "/customers", "/static/app.js", "/hello"]
HEX = "0123456789abcdef"

# What letters are mistaken for: by case folding (K, ſ, İ, ı), by compatibility (fullwidth), by sight (Cyrillic).
ALIKE = {
    "k": ["\u212a", "\uff4b", "\u043a"], "s": ["\u017f", "\uff53", "\u0455"], "i": ["\u0130", "\u0131", "\uff49"],
    "a": ["\uff41", "\u0430", "\u00aa", "a\u0301"], "d": ["\uff44"], "m": ["\uff4d"], "n": ["\uff4e"], "/": ["\u2215", "\uff0f", "\u2044"],
    ".": ["\uff0e", "\u2024", "\u3002"], "o": ["\uff4f", "\u00ba"], "b": ["\uff42"], ";": ["\u037e", "\uff1b"], "\\": ["\uff3c"],
}
# Encodings of a byte that UTF-8 forbids and old decoders took.
OVERLONG = {"/": ["%c0%af", "%e0%80%af", "%c0%2f", "%f0%80%80%af"], ".": ["%c0%ae", "%e0%80%ae", "%c0%2e"], "a": ["%c1%a1"], "d": ["%c1%a4"],
            "\\": ["%c1%9c"], "s": ["%c1%b3"]}
SLASHES = ["%2f", "%2F", "%5c", "%5C", "\\", "%252f", "%252F", "%255c", "%25252f", "//", "///", "/./", "/%2e/", "/;/", "/;x=1/", "/x/../", "/x/%2e%2e/",
           "/x/..;/", "/%3b/", "%2f%2f", "/%2f", "%2f/", "/%5c", "\\/", "/.%2e/", "%u2215", "%u002f"]
ENDS = [";", ";x", ";x=y", ";jsessionid=1", "%3b", "%3Bx", ";/x", ".", "..", "...", "%20", "%2e", " ", "%20%20", ". .", "%2e%20", "/", "//", "/.", "/..", "/%2e",
        "/..;/", "?", "%3f", "%3Fx", "#", "%23", "%23x", "%00", "%00.html", "%0a", "%09", "%0d%0a", "~", "~1", "::$DATA", "%3a%3a$DATA", ".json", ".php", ".jsp",
        ";.css", "%3b.css", "%252e", "%2520", "%253b", "%253bx", ",", "+", "%", "%2", "%zz", "&", "/;", "/;x", "/%20", "/%2f", "%2f", "%5c", "%ff", "%a0", "%c2%a0",
        "%e2%80%8b", "%ef%bb%bf", "%ad", "*", "/*", "|", "%7f", "\t", "\x0b", "\x85", "\xa0", "\x00", "?/../x", "/x/..", "/x%2f..", "/./", "%2f.", ".%2f", "%2f;x"]
FRONTS = ["/", "//", "/./", "/;/", "/;x/", "/%2f", "/%5c", "\\", "/\\", "/x/..", "/x/%2e%2e", "/x/..;", "/..;", "/%2e%2e", "/%2e", "/.", "/..", "/%20", "/static/..%2f",
          "/static/..%5c", "/static/%2e%2e%2f", "/static/..;", "/shop/..%2f", "/shop/a1/..%252f..%252f", "/%252e%252e", "/index.php", "/index.html/..", "/lax.txt/..",
          "/%3b", "/;%2f", "/.;", "/%2f.", "/*", "/~", "/%09", "/%ef%bb%bf", "/shop/x%2f..%2f..", "/hello/%2e%2e;", "//api.example.com", "/http:/", "/http://x"]
NAMES = ["org", "org", "org", "ORG", "Org", "oRg", "org[]", "org[0]", "org[a]", "org%5b%5d", "[org][0]", "[[org]]", "]org", "[org", "%5Borg%5D", "[]org", "x[org]", "org%5B0%5D", "org[", "org]", "[org]", "org.", ".org", "org+", "+org", "org%20",
         "%20org", "org%00", "org%00x", "o%72g", "%6frg", "%4frg", "org%3d", "%256frg", "org%2500", "org%09", "%09org", "org%0a", "org%0b", "%0borg", "org%5b", "org%c2%a0", "org%ad",
         "or%67%5b%5d", "org;", "org%3b", ";org", "%3borg", "amp;org", "org[][]", "org[%00", "&org", "%26org", "?org", "%3forg", "#org", "o\u0280g", "\u043erg", "org%e2%80%8b",
         "x", "page", "organ", "o", "org.x", "org_", "org%2e"]
VALUES = ["org-a", "org-a", "org-b", "org-b", "ORG-A", "org-%61", "org-%62", "org-%2562", "org%2da", "org%2Db", "", "org-a,org-b", "org-b,org-a", "org-a%2corg-b", "org-a%26org=org-b",
          "org-a%26org%3dorg-b", "org-a;org=org-b", "org-a%3borg=org-b", "org-a%00", "org-b%00org-a", "org-a%20", "+org-b", "org-a+", "org-a%0a", "org-a%0d%0aorg=org-b", "org-b;", ";org-b",
          "org-a;", "org-a%3b", "org-a|org-b", "[org-b]", "%22org-b%22", "org-a#org-b", "org-a%23", "%ff", "org-a%ff", "%u006frg-b", "org-%", "org-a%", "=org-b", "org-a=org-b", "%c0%af",
          "org-\uff42", "org%e2%80%90b"]
SEPARATORS = ["&", "&", "&", "&", ";", "%26", "&&", "&;", ";&", "&amp;", "%3b", "?", "|", ",", "%0a", "+", "&&;"]
OVERRIDES = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x_http_method_override", "X.HTTP.Method.Override", "X-Http_Method-Override", "X-HTTP-METHOD-OVERRIDE",
             "X-HTTP-Method-Override ", "X~HTTP~Method~Override", "X--HTTP-Method-Override", "X-HTTP-Method-Overrides"]
OVERRIDE_NAMES = ["_method", "_METHOD", "_Method", "%5fmethod", "_m%65thod", "_method[]", "_method%5b%5d", ".method", "+method", "%20method", " method", "[method", "_method%00", "_method.",
                  "x;_method", "_method;x", "%5b_method", "_method[0]", "%5Fmethod%20", "+_method", "%255fmethod", "__method", "method"]
METHODS = ["GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
ODD_METHODS = ["delete", "Delete", "DELETE\t", "PROPFIND", "TRACE", "TRACK", "CONNECT", "DEL\xc9TE", "get", "GET\x0b", "*", "PURGE", "LOCK"]
FOLDERS = ["-", "_", ".", "~", "!", "'", "`", "--", "\u00ad", " ", "*", "|", "+", "^", "$", "%", "&", "#"]
HOST_CHANGES = ["upper", "mixed", "dot", "dots", "port", "empty-port", "long-port", "user", "space", "tab", "percent", "alike", "comma", "slash", "nul", "two", "backslash", "underscore",
                "front-dot", "label", "hash", "zero", "scheme", "at-end", "semicolon"]


class Generator:
    """Requests for one site under one configuration, by number."""

    def __init__(self, seed, domain, tokens):
        self.seed, self.domain, self.tokens = seed, domain, tokens
        self.makers = {"path": (self.path, 44), "query": (self.query, 16), "header": (self.header, 12), "host": (self.host, 10), "method": (self.method, 10), "capture": (self.capture, 8)}

    def case(self, number):
        self.random, self.subject = random.Random(f"{self.seed}/{number}"), "alice"
        kind = self.random.choices(list(self.makers), [weight for _, weight in self.makers.values()])[0]
        request = self.makers[kind][0](kind)
        if self.random.random() < 0.25:
            request.headers.append(self.identity())
        if self.random.random() < 0.05:
            request.headers.append(self.elsewhere())
        return request

    # Kinds

    def path(self, kind):
        seed = self.random.choice(STRICT) if self.random.random() < 0.9 else self.random.choice(LAX)
        path = self.changed(seed)
        query = self.random.choice(["", "", "", "", "?a=b", "?", "?/admin", "?x=/../admin"])
        method = "GET" if self.random.random() < 0.85 else self.random.choice(METHODS)
        return self.request(kind, path + query, method=method)

    def query(self, kind):
        path = self.random.choice(["/orders", "/orders/7"])
        path = path if self.random.random() < 0.8 else self.changed(path)
        if self.random.random() < 0.08:
            path += self.random.choice([";", ";x", ";org=org-b", ";x=y;org=org-b&x", "%3borg=org-b", ";/x", ";?"])
        pairs = [f"{self.random.choice(NAMES)}={self.random.choice(VALUES)}" for _ in range(self.random.randint(0, 3))]
        if self.random.random() < 0.8:
            pairs.insert(self.random.randint(0, len(pairs)), "org=org-a")
        query = "".join(pair + self.random.choice(SEPARATORS) for pair in pairs)
        query = query if self.random.random() < 0.2 else query.rstrip("&;")
        if self.random.random() < 0.02:
            query = "&".join(["x"] * self.random.choice([90, 499, 990, 1000, 1001, 1024, 2000])) + "&" + query
        request = self.request(kind, f"{path}?{query}")
        if self.random.random() < 0.2:
            self.add_body(request)
        return request

    def header(self, kind):
        path = "/heads" if self.random.random() < 0.9 else self.changed("/heads")
        request = self.request(kind, path)
        fields = [self.named("X-Org", self.random.choice(["org-b", "org-b", "org-a", "org-a, org-b", "org-b,org-a", "", "ORG-A", "org-a\t", "org-a\x00org-b", "org-a;org-b"]))
                  for _ in range(self.random.randint(0, 2))]
        if self.random.random() < 0.85:
            fields.insert(self.random.randint(0, len(fields)), (b"X-Org", b"org-a"))
        if self.random.random() < 0.1:
            fields.append((b"Connection", self.random.choice([b"X-Org", b"keep-alive, X_Org", b"x-org", b"close, x.org"])))
        request.headers += fields
        return request

    def host(self, kind):
        name = self.random.choice(["admin", "admin", "admin", "api"]) + "." + self.domain
        for _ in range(self.random.choice([1, 1, 1, 2])):
            name = self.changed_host(name)
        path = self.random.choice(["/hello", "/hello", "/admin", "//" + name + "/admin"])
        form = self.random.random()
        if form < 0.15:
            return self.request(kind, f"http://{name}{path}", host=self.random.choice([name, "api." + self.domain, "admin." + self.domain]))
        if form < 0.2:
            return self.request(kind, f"http://api.{self.domain}{path}", host=name)
        request = self.request(kind, path, host=name)
        if form < 0.3:
            request.headers.append((b"Host", self.raw(self.random.choice(["admin.", "api."]) + self.domain)))
        return request

    def method(self, kind):
        path = "/things/7" if self.random.random() < 0.9 else self.changed("/things/7")
        method = self.random.choice(METHODS) if self.random.random() < 0.8 else self.random.choice(ODD_METHODS)
        request = self.request(kind, path, method=method)
        value = self.random.choice(["DELETE", "DELETE", "delete", "Delete", "%44ELETE", "DELETE ", "GET", method, "DELETE,GET", "GET,DELETE"])
        if self.random.random() < 0.5:
            request.headers.append((self.raw(self.random.choice(OVERRIDES)), self.raw(value)))
        if self.random.random() < 0.5:
            pairs = [f"{self.random.choice(OVERRIDE_NAMES)}={self.random.choice([value, method])}" for _ in range(self.random.randint(1, 2))]
            request.target += self.raw("?" + self.random.choice(["", "a=1&", "a=1;", ";"]) + self.random.choice(["&", ";"]).join(pairs))
        return request

    def capture(self, kind):
        if self.random.random() < 0.3:
            self.subject = self.random.choice([subject for subject in self.tokens if subject != "alice"])
            path = "/customers/" + self.random.choice([self.subject, quote(self.subject, safe=""), quote(self.subject, safe=";"), quote(self.subject, safe=";.%")])
            return self.request(kind, path if self.random.random() < 0.5 else self.changed(path))
        seed = self.random.choice(["/customers/alice", "/customers/alice", "/customers/bob", "/customers/alice/../bob", "/customers/bob/../alice", "/customers/alice%2f..%2fbob",
                                   "/customers/alice;/bob", "/customers/bob;alice", "/customers/alice%00bob", "/customers/%61lice", "/customers/alice%2fbob", "/customers/bob%2falice"])
        return self.request(kind, self.changed(seed) if self.random.random() < 0.9 else seed)

    # Changes

    def changed(self, path):
        """One to four changes; fewer are likelier, so that many requests differ from the plain one in a single point."""
        for _ in range(self.random.choices([1, 2, 3, 4], [50, 28, 14, 8])[0]):
            path = self.random.choice([self.recased, self.encoded, self.encoded, self.slashed, self.slashed, self.ended, self.ended, self.fronted, self.alike, self.inserted])(path)
        return path

    def recased(self, path):
        return path.upper() if self.random.random() < 0.3 else "".join(self.random.choice([letter, letter.swapcase()]) for letter in path)

    def encoded(self, path):
        """Percent-encodes one to all characters, once, twice or thrice."""
        share = self.random.choice([0.1, 0.1, 0.3, 1])
        deep = self.random.choice(["%", "%", "%", "%25", "%25", "%2525", "%%"])
        upper = self.random.random() < 0.5
        chosen = [self.random.random() < share for _ in path]
        if path and not any(chosen):
            chosen[self.random.randrange(len(path))] = True

        def one(letter):
            digits = "".join(f"{deep}{byte:02x}" for byte in letter.encode("latin-1", "replace"))
            return digits.upper() if upper else digits

        return "".join(one(letter) if hit and letter not in "/%" else letter for letter, hit in zip(path, chosen))

    def slashed(self, path):
        """Writes one slash otherwise, the first only seldom: then it is no path."""
        places = [at for at, letter in enumerate(path) if letter == "/" and (at > 0 or self.random.random() < 0.1)]
        if not places:
            return path
        at = self.random.choice(places)
        return path[:at] + self.random.choice(SLASHES) + path[at + 1:]

    def ended(self, path):
        """Puts something at the end of a segment."""
        ends = [at for at, letter in enumerate(path) if letter == "/" and at > 0] + [len(path)] * 2
        at = self.random.choice(ends)
        return path[:at] + self.random.choice(ENDS) + path[at:]

    def fronted(self, path):
        return self.random.choice(FRONTS) + path

    def alike(self, path):
        """Writes a letter as one that looks or folds like it, in UTF-8, overlong, raw or escaped."""
        places = [at for at, letter in enumerate(path) if letter.lower() in ALIKE and at > 0]
        if not places:
            return path
        at = self.random.choice(places)
        letter = path[at].lower()
        if letter in OVERLONG and self.random.random() < 0.3:
            return path[:at] + self.random.choice(OVERLONG[letter]) + path[at + 1:]
        other = self.random.choice(ALIKE[letter])
        form = self.random.random()
        if form < 0.75:
            other = "".join(f"%{byte:02X}" for byte in other.encode())
        elif form < 0.85:
            other = "".join(f"%u{ord(one):04x}" for one in other)
        return path[:at] + other + path[at + 1:]

    def inserted(self, path):
        at = self.random.randint(1, len(path)) if path else 0
        return path[:at] + self.random.choice(ENDS + SLASHES) + path[at:]

    def changed_host(self, name):
        change, at = self.random.choice(HOST_CHANGES), self.random.randint(0, len(name))
        match change:
            case "upper": return name.upper()
            case "mixed": return "".join(self.random.choice([letter, letter.upper()]) for letter in name)
            case "dot": return name + "."
            case "dots": return name + ".."
            case "port": return name + self.random.choice([":80", ":443", ":8080", ":0", ":65535", ":65536"])
            case "empty-port": return name + ":"
            case "long-port": return name + self.random.choice([":080", ":00000080", ":80:80", ":8o", ":+80", ":-1", ":%38%30"])
            case "user": return self.random.choice(["x@", "x:y@", "admin@", "api.example.com@"]) + name
            case "space": return self.random.choice([" " + name, name + " ", name.replace(".", " .", 1)])
            case "tab": return self.random.choice(["\t" + name, name + "\t", name + "\x0b"])
            case "percent": return name.replace("a", "%61", 1)
            case "alike": return name.replace("i", self.random.choice(["\u0131", "\u0130"]), 1) if self.random.random() < 0.5 else name.replace(".", "\u3002", 1)
            case "comma": return self.random.choice([f"api.{self.domain},{name}", f"{name},api.{self.domain}", f"api.{self.domain}, {name}"])
            case "slash": return name + self.random.choice(["/", "/x", "/@api.example.com"])
            case "nul": return name[:at] + "\x00" + name[at:]
            case "two": return f"{name}:80@{name}"
            case "backslash": return name + self.random.choice(["\\", "\\@api.example.com"])
            case "underscore": return name.replace("-", "_", 1)
            case "front-dot": return "." + name
            case "label": return self.random.choice(["x.", "admin.", "api."]) + name
            case "hash": return name + self.random.choice(["#", "?", "#@x", "?x"])
            case "zero": return name + "\u200b"
            case "scheme": return "http://" + name
            case "at-end": return name + "@"
            case _: return name + self.random.choice([";", ";x", "%00", "%2e"])

    def identity(self):
        """An identity header that the client has no business to send."""
        return self.named(self.random.choice(["X-Auth-Subject", "X-Auth-Subject", "X-Auth-Client-Id", "X-Auth-Subject-"]), self.random.choice(["evil", "evil, alice", "alice, evil"]))

    def elsewhere(self):
        """A header by which some servers and frameworks find another path or host."""
        name = self.random.choice(["X-Original-URL", "X-Rewrite-URL", "X-Original-Uri", "X_Original_URL", "X-Rewrite_Url", "X-Forwarded-Host", "X-Forwarded-Host", "Forwarded", "X-Forwarded_Host",
                                   "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Host", "X-Forwarded-Server", "X-HTTP-Host-Override", "X-Http-Destinationurl", "X-Script-Name", "Script-Name", "Path-Info"])
        value = "host=admin." + self.domain if name == "Forwarded" else ("admin." + self.domain if "ost" in name or "Server" in name else "/admin")
        return self.raw(name), self.raw(value)

    def named(self, name, value):
        """A header under another spelling of its name."""
        if self.random.random() < 0.75:
            parts = name.split("-")
            name = parts[0] + "".join(self.random.choice(["-", self.random.choice(FOLDERS)]) + part for part in parts[1:])
        name = self.random.choice([name, name, name.upper(), name.lower(), name.title()])
        if self.random.random() < 0.08:
            name = self.random.choice([name + " ", " " + name, name + "\t", "HTTP-" + name, "HTTP_" + name, name + "\x00", name + ":", "-" + name, name + "-"])
        return self.raw(name), self.raw(value)

    # Parts

    def request(self, kind, target, method="GET", host=None):
        headers = [(b"Authorization", b"Bearer " + self.tokens[self.subject])] if kind in ("path", "capture") and self.random.random() < (1 if kind == "capture" else 0.3) else []
        body = b"x" if method in ("POST", "PUT", "PATCH") and self.random.random() < 0.3 else None
        if body:
            headers.append((b"Content-Type", b"text/plain"))
        return Request(kind, self.raw(method), self.raw(target), self.raw(host or "api." + self.domain), headers, body)

    def add_body(self, request):
        """A form that says something else than the query."""
        request.method = self.random.choice([b"POST", b"POST", b"PUT", b"GET"])
        request.body = self.raw(f"{self.random.choice(NAMES)}={self.random.choice(VALUES)}&org=org-b")
        kind = self.random.choice(["application/x-www-form-urlencoded"] * 3 + ["application/x-www-form-urlencoded;charset=utf-8", "APPLICATION/X-WWW-FORM-URLENCODED", "text/plain",
                                  "application/x-www-form-urlencoded ", "multipart/form-data; boundary=x", "application/json", "application/x-www-form-urlencoded, text/plain", ""])
        if "multipart" in kind:
            request.body = b'--x\r\nContent-Disposition: form-data; name="org"\r\n\r\norg-b\r\n--x--\r\n'
        if kind or self.random.random() < 0.5:
            request.headers.append((b"Content-Type", self.raw(kind)))

    def raw(self, text):
        """Characters up to U+00FF as one byte, so that bytes that are no UTF-8 occur, others as UTF-8; no line ends, which are framing's matter."""
        raw = b"".join(letter.encode("latin-1") if ord(letter) < 256 else letter.encode() for letter in text)
        return raw.replace(b"\r", b"").replace(b"\n", b"")
