"""A WSGI application that reads PATH_INFO by itself, as small ones do."""

import re
from urllib.parse import parse_qs

from lines import every, text


def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    lines = every(environ)
    found = re.fullmatch(r"/(?:(orders|heads)|(orders|things|customers)/([^/]+))", path)
    if re.fullmatch(r"/(admin(/.*)?|desk/stock|shop/[^/]+/keys)", path, re.DOTALL):
        lines.append("zone=strict")
    elif found:
        zone = found[1] or found[2]
        lines.append(f"zone={zone}")
        if zone == "orders":
            lines += [f"org={value}" for value in parse_qs(query, keep_blank_values=True).get("org", [""])]
        elif zone == "heads":
            lines.append(f"xorg={environ.get('HTTP_X_ORG', '')}")
        elif zone == "things":
            asked = parse_qs(query).get("_method", [environ.get("HTTP_X_HTTP_METHOD_OVERRIDE") or environ["REQUEST_METHOD"]])
            lines += [f"method={value.upper()}" for value in asked]
        else:
            lines.append(f"customer={found[3]}")
    else:
        lines.append("zone=lax")
    body = text(lines)
    start_response("200 OK", [("Content-Type", "text/plain;charset=UTF-8"), ("Content-Length", str(len(body)))])
    return [body]
