"""`Idempotency-Key`: the key, the effect and the answer commit in one transaction (R20)."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.db import OperationalError, transaction
from django.db.models import Model
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hopper import database
from hopper.errors import HopperError, Invalid, RuleBroken
from hopper.rest.auth import caller_of

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_TRIES = 3
_REFUSALS = (HopperError, APIException, Http404)


def carry_out_once(
    records: type[Model],
    request: Request,
    handler: Callable[..., Response],
    *args: Any,
    **kwargs: Any,
) -> Response:
    """Carry out a POST, or replay the stored answer of its key. `records` keeps the answers.

    Only successes are stored. A refused request changed nothing and is judged again. Of two
    requests at once, the second waits for the commit of the first, then replays. An answer may
    carry `refresh`, a function that reads the object again after the commit. So the first caller
    sees how far the task was routed. The stored answer is from before the commit. A preview
    changes nothing and leaves its key unused. Raises Invalid for a malformed key, RuleBroken (422)
    for a key of another request.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return unless_deadlocked(handler, request, *args, **kwargs)
    if not _KEY.fullmatch(key):
        raise Invalid.field(HEADER, "1 to 255 visible ASCII characters")
    if _only_asks(request):
        return unless_deadlocked(handler, request, *args, **kwargs)
    response, refusal = unless_deadlocked(_once, records, key, request, handler, *args, **kwargs)
    if refusal is not None:
        raise refusal
    return refreshed(response)


def unless_deadlocked(action: Callable[..., Answer], *args: Any, **kwargs: Any) -> Answer:
    """Return the result of `action`, and run `action` again after a deadlock.

    The order of locks (R6) allows no deadlock. If the database finds one all the same, the
    database rolls the victim back whole, so a second run is safe. The log reports the deadlock. An
    action of several transactions begins with the transaction that must not run twice.
    """
    for attempt in range(1, _TRIES):
        try:
            return action(*args, **kwargs)
        except OperationalError as error:
            if not _is_deadlock(error):
                raise
            logger.exception("deadlock, tried again", extra={"event": "deadlock"})
            time.sleep(0.05 * attempt)
    return action(*args, **kwargs)


def refreshed(response: Response) -> Response:
    """Return the answer, read again after the commit."""
    refresh = getattr(response, "refresh", None)
    if refresh is not None:
        response.data = refresh()
    return response


def _once(
    model: type[Model],
    key: str,
    request: Request,
    handler: Callable[..., Response],
    *args: Any,
    **kwargs: Any,
) -> tuple[Response, Exception | None]:
    records: Any = model._default_manager
    digest = _digest(request)
    with transaction.atomic():
        now = database.now()
        caller = caller_of(request)
        records.filter(caller=caller, key=key, created_at__lt=now - KEPT).delete()
        record, is_new = records.get_or_create(
            caller=caller, key=key, defaults={"digest": digest, "created_at": now}
        )
        if not is_new:
            return _replay(record, digest), None
        try:
            response = handler(request, *args, **kwargs)
        except _REFUSALS as refusal:
            # No rollback of the whole: the service has undone its own part, except the part that
            # must stay (a late result).
            record.delete()
            return Response(), refusal
        answer = json.loads(JSONRenderer().render(response.data) or b"null")
        record.keep(response.status_code, answer)
    return response, None


def _only_asks(request: Request) -> bool:
    """Return whether the query or the body of a call asks for a preview."""
    body = request.data if isinstance(request.data, dict) else {}
    return request.query_params.get("preview") == "true" or body.get("preview") is True


def _replay(record: Any, digest: str) -> Response:
    if record.digest != digest:
        raise RuleBroken(
            f"{HEADER}: this key was used for another request; take a new one.",
            code="idempotency_key_reused",
        )
    return Response(record.answer(), status=record.status, headers={REPLAYED: "true"})


def _digest(request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True, separators=(",", ":"))
    parts = (request.method or "", request.get_full_path(), body)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_deadlock(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", "") in ("40P01", "40001")
