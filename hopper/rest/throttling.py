"""The limit of requests by the minute of one credential."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework.throttling import BaseThrottle

from hopper.rest.auth import Operator, caller_of
from hopper.rest.limits import count, rest_of_minute


class CredentialThrottle(BaseThrottle):
    """Lets one credential make HOPPER_REQUESTS_PER_MINUTE requests."""

    def allow_request(self, request: Any, view: Any) -> bool:
        """Return whether the caller may go on. The local operator always may."""
        if isinstance(request.user, Operator) and request.auth is None:
            return True
        most: int = settings.HOPPER_REQUESTS_PER_MINUTE
        return count(f"requests:{caller_of(request)}", most) <= most

    def wait(self) -> float:
        """Return the seconds for Retry-After."""
        return rest_of_minute()
