"""Liveness and readiness, without credentials and without detail."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from hopper.rest.problem import respond


def read_only(view: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Restrict a view to GET and HEAD; another method gets a problem (405)."""

    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD"):
            return view(request)
        words = f'Method "{request.method}" not allowed.'
        return respond(405, "method_not_allowed", words, {"Allow": "GET, HEAD"})

    return answer


@read_only
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that the process is alive. Does not touch the database."""
    return JsonResponse({"status": "ok"})


@read_only
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 if the database answers and is migrated, else 503."""
    try:
        executor = MigrationExecutor(connection)
        behind = bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except Error:
        return JsonResponse({"status": "unavailable"}, status=503)
    return JsonResponse(
        {"status": "migrations due" if behind else "ok"}, status=503 if behind else 200
    )
