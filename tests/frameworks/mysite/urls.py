"""Views beside Django's admin."""

import hashlib
import json
import sys
import threading
from collections.abc import Iterator

from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def index(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(f"visit {request.session['visits']}")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    digest, size = hashlib.sha256(), 0
    for block in request.FILES["file"].chunks():
        digest.update(block)
        size += len(block)
    return JsonResponse({"size": size, "sha256": digest.hexdigest(), "comment": request.POST["comment"]})


def stream(request: HttpRequest, parts: int) -> HttpResponse:
    def generate() -> Iterator[str]:
        thread = threading.get_ident()
        for number in range(parts):
            assert threading.get_ident() == thread
            # The connection to SQLite belongs to the thread that has opened it.
            yield f"{number} {Group.objects.count()}\n"

    return StreamingHttpResponse(generate(), content_type="text/plain")


@csrf_exempt
def api(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"got": json.loads(request.body), "method": request.method, "query": request.GET.dict()})


def file(request: HttpRequest) -> HttpResponse:
    return FileResponse(open(__file__, "rb"), as_attachment=True, filename="urls.txt")


def boom(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("boom")


def gil(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"gil": sys._is_gil_enabled()})


urlpatterns = [
    path("", index),
    path("upload", upload),
    path("stream/<int:parts>", stream),
    path("api", api),
    path("file", file),
    path("boom", boom),
    path("gil", gil),
    path("admin/", admin.site.urls),
]
