"""The ASGI application, for `hopper serve` and other ASGI servers."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")
django.setup()

from hopper.checks import advise_at_start, require_sound_start  # noqa: E402 - needs the settings
from hopper.serving.application import Application  # noqa: E402 - needs the settings

require_sound_start()
advise_at_start()
application = Application()
