"""The lines that every answer is made of, whichever framework routes."""


def every(environ):
    host = environ.get("HTTP_HOST", "").lower()
    return ["one-view", f"vhost={'admin' if host.startswith('admin.') else 'other'}", f"subject={environ.get('HTTP_X_AUTH_SUBJECT', '')}"]


def text(lines):
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")
