"""The OpenAPI schema, drawn once in a process for all tests that walk over its operations."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.test import Client

ADDRESS = "/api/v1/schema"
AS_JSON = {"Accept": "application/vnd.oai.openapi+json"}


@cache
def schema() -> dict[str, Any]:
    """Return the schema as the server answers it."""
    found: dict[str, Any] = json.loads(
        Client(SERVER_NAME="localhost").get(ADDRESS, headers=AS_JSON).content
    )
    return found
