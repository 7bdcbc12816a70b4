"""The ASGI application. The views are synchronous and run faster under WSGI."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")

application = get_asgi_application()

from hopper.checks import advise_at_start, require_sound_start  # noqa: E402 - needs the settings

require_sound_start()
advise_at_start()
