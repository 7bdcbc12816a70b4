"""Servers of one database share one key: a server with another key does not start."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from hopper.checks import advise_at_start
from hopper.site_key import fingerprint
from instances import site
from instances.models import SiteKey

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _agreed() -> None:
    site.replace_key()


def test_a_server_with_the_key_starts() -> None:
    advise_at_start()


def test_a_server_with_another_key_is_stopped(settings: Any) -> None:
    settings.SECRET_KEY = "another key"
    with pytest.raises(SystemCheckError, match="another HOPPER_SECRET_KEY"):
        advise_at_start()
    site.store_key()
    assert SiteKey.objects.get().fingerprint != fingerprint(), "a wrong key does not win"


def test_a_key_is_replaced_step_by_step(settings: Any) -> None:
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new key", [old]
    advise_at_start()
    site.store_key()
    settings.SECRET_KEY_FALLBACKS = []
    advise_at_start()
    settings.SECRET_KEY = old
    with pytest.raises(SystemCheckError):
        advise_at_start()


def test_a_lost_key_is_replaced_by_command(settings: Any) -> None:
    settings.SECRET_KEY = "new key"
    call_command("hopper_migrate", "--new-key", stdout=io.StringIO())
    advise_at_start()


def test_the_first_migration_stores_the_key() -> None:
    SiteKey.objects.all().delete()
    site.store_key()
    assert SiteKey.objects.get().fingerprint == fingerprint()
