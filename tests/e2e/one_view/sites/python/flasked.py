"""The same site on Flask's router."""

from flask import Flask, Response, request

from lines import every, text

application = Flask(__name__)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def answer(*more):
    return Response(text([*every(request.environ), *more]), content_type="text/plain;charset=UTF-8")


def strict(**_captures):
    return answer("zone=strict")


for number, pattern in enumerate(["/admin", "/admin/", "/admin/<path:rest>", "/desk/stock", "/shop/<item>/keys"]):
    application.add_url_rule(pattern, f"strict{number}", strict, methods=METHODS)


@application.route("/orders", methods=METHODS)
@application.route("/orders/<order>", methods=METHODS)
def orders(order=None):
    return answer("zone=orders", f"org={request.args.get('org')}", f"org={request.values.get('org')}",
                  *(f"org={value}" for value in request.args.getlist("org")))


@application.route("/heads", methods=METHODS)
def heads():
    return answer("zone=heads", f"xorg={request.headers.get('X-Org')}")


@application.route("/things/<thing>", methods=METHODS)
def things(thing):
    method = request.headers.get("X-HTTP-Method-Override") or request.args.get("_method") or request.method
    return answer("zone=things", f"method={method.upper()}")


@application.route("/customers/<customer>", methods=METHODS)
def customers(customer):
    return answer("zone=customers", f"customer={customer}")


@application.route("/", defaults={"rest": ""}, methods=METHODS)
@application.route("/<path:rest>", methods=METHODS)
def lax(rest):
    return answer("zone=lax")
