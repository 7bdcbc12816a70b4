"""The schema is generated without a warning, and the file in docs is current."""

from __future__ import annotations

import io
from pathlib import Path

import yaml
from django.conf import settings
from django.core.management import call_command

FILE = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"


def generated() -> str:
    """Return the schema as `manage.py spectacular` writes it."""
    out = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return out.getvalue()


def test_the_file_in_docs_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == generated(), (
        "write it anew: manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml"
    )


def test_every_operation_declares_its_problems_and_every_post_its_key() -> None:
    schema = yaml.safe_load(generated())
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert {"400", "401", "406"} <= set(operation["responses"]), where
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"], where
            if method == "post":
                names = {parameter["name"] for parameter in operation["parameters"]}
                assert "Idempotency-Key" in names, where
            assert not path.endswith("/")
