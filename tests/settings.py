"""Settings of a test run: HOPPER_TEST_DATABASE chooses sqlite (default) or postgres."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

from tests import postgres

_home = tempfile.mkdtemp(prefix="hopper-test-")
atexit.register(shutil.rmtree, _home, ignore_errors=True)

_KEPT = ("HOPPER_TEST_", "HOPPER_STORM", "HOPPER_FUZZ")
# What a developer has set for his own Hopper must not change a test.
for _name in list(os.environ):
    if _name.startswith("HOPPER_") and not _name.startswith(_KEPT):
        del os.environ[_name]
os.environ["HOPPER_HOME"] = _home
os.environ["HOPPER_SECRET_KEY"] = (
    "a key for the tests only, long enough to please the checks 0123456789"
)
# All callers of a test run have one address.
os.environ["HOPPER_FAILURES_PER_MINUTE"] = "1000000"
os.environ["HOPPER_DATABASE_URL"] = f"sqlite:///{_home}/hopper.db"

# Why nothing can be tested, shown with each skipped test.
POSTGRES_MISSING = ""
if os.environ.get("HOPPER_TEST_DATABASE", "sqlite") == "postgres":
    try:
        os.environ["HOPPER_DATABASE_URL"] = postgres.session_url()
    except postgres.NotFound as problem:
        POSTGRES_MISSING = str(problem)

from hopper.settings import *  # noqa: E402, F403
from hopper.settings import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, because threads and processes cannot share a database in memory.
    DATABASES["default"]["TEST"] = {"NAME": f"{_home}/test.db"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True
