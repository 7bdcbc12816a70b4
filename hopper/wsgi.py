"""The WSGI application, for servers and for the in-process command line."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hopper.settings")

application = get_wsgi_application()

from hopper.checks import advise_at_start, require_sound_start  # noqa: E402 - needs the settings

require_sound_start()
advise_at_start()
