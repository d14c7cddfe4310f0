"""A Django project in one file: admin, sessions, forms with files, streams. Served as `django_app:asgi` and `django_app:wsgi`.

Its database and its media are in the folder $DJANGO_FOLDER, made by `python django_app.py`.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

FOLDER = Path(os.environ["DJANGO_FOLDER"])
CONTRIB = "django.contrib."

settings.configure(
    SECRET_KEY="not a secret", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    FORCE_SCRIPT_NAME=None, STATIC_URL="/static/", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "db.sqlite3"}},
    INSTALLED_APPS=[CONTRIB + name for name in ("admin", "auth", "contenttypes", "sessions", "messages")],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware", CONTRIB + "sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        CONTRIB + "auth.middleware.AuthenticationMiddleware", CONTRIB + "messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[{
        "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request", CONTRIB + "auth.context_processors.auth",
            CONTRIB + "messages.context_processors.messages",
        ]},
    }],
    # Above it an upload goes through a file.
    FILE_UPLOAD_MAX_MEMORY_SIZE=100_000,
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


def visits(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for piece in file.chunks():
        digest.update(piece)
    return JsonResponse({"name": file.name, "note": request.POST["note"], "digest": digest.hexdigest()})


def stream(request: HttpRequest) -> HttpResponse:
    def lines() -> Iterator[str]:
        yield from (f"line {number}\n" for number in range(1000))

    async def lines_later() -> AsyncIterator[str]:
        for line in lines():
            await asyncio.sleep(0)
            yield line

    return StreamingHttpResponse(lines_later() if hasattr(request, "scope") else lines(), content_type="text/plain")


def download(request: HttpRequest) -> HttpResponse:
    return FileResponse(open(FOLDER / "download.bin", "rb"), as_attachment=True)


def about(request: HttpRequest, name: str) -> HttpResponse:
    return JsonResponse({"url": request.build_absolute_uri(), "path": request.path, "name": name, "address": request.META["REMOTE_ADDR"]})


async def later(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0.01)
    return HttpResponse("later")


def fail(request: HttpRequest) -> HttpResponse:
    raise LookupError("of the view")


urlpatterns = [
    path("admin/", admin.site.urls), path("visits", visits), path("upload", upload), path("stream", stream),
    path("download", download), path("about/<str:name>", about), path("later", later), path("fail", fail),
]

asgi: Any = get_asgi_application()
wsgi: Any = get_wsgi_application()

if __name__ == "__main__":
    sys.modules["django_app"] = sys.modules[__name__]
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = "secret"
    call_command("createsuperuser", username="ann", email="ann@example.test", interactive=False, verbosity=0)
