"""The same site on Django's router and request."""

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path, re_path

from lines import every, text

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test", APPEND_SLASH=True, LOGGING_CONFIG=None,
                   MIDDLEWARE=["django.middleware.common.CommonMiddleware"])
django.setup()


def answer(request, *more):
    return HttpResponse(text([*every(request.META), *more]), content_type="text/plain;charset=UTF-8")


def strict(request, **_captures):
    return answer(request, "zone=strict")


def orders(request, order=None):
    return answer(request, "zone=orders", f"org={request.GET.get('org')}", *(f"org={value}" for value in request.GET.getlist("org")))


def heads(request):
    return answer(request, "zone=heads", f"xorg={request.headers.get('X-Org')}")


def things(request, thing):
    method = request.headers.get("X-HTTP-Method-Override") or request.GET.get("_method") or request.method
    return answer(request, "zone=things", f"method={method.upper()}")


def customers(request, customer):
    return answer(request, "zone=customers", f"customer={customer}")


def lax(request):
    return answer(request, "zone=lax")


urlpatterns = [
    path("admin", strict), path("admin/", strict), path("admin/<path:rest>", strict), path("desk/stock", strict),
    path("shop/<item>/keys", strict), path("orders", orders), path("orders/<order>", orders), path("heads", heads), path("things/<thing>", things),
    path("customers/<customer>", customers), re_path(r"", lax),
]
application = get_wsgi_application()
