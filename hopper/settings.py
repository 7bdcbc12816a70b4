"""Settings of the project, from the environment; the defaults run on a laptop."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from hopper import __version__, embedded, environment, packages

if _hidden := packages.hidden_by():
    raise ImproperlyConfigured(_hidden)

BASE_DIR = Path(__file__).resolve().parent.parent
env = environment.Environment()

# The database

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.database("HOPPER_DATABASE_URL")
    or {"ENGINE": embedded.ENGINE, "NAME": str(embedded.find().database)}
}
_database = DATABASES["default"]
_options = _database.setdefault("OPTIONS", {})
_store: embedded.Store | None = None

if _database["ENGINE"] == embedded.ENGINE:
    _options.setdefault("transaction_mode", "IMMEDIATE")
    _options.setdefault("timeout", 20)
    _options.setdefault("init_command", "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL")
    if _database["NAME"] != ":memory:":
        _store = embedded.Store(Path(_database["NAME"])).prepare()
        if _store.is_read_only:
            _options["database"] = _store.address
else:
    _database["CONN_MAX_AGE"] = env.int("HOPPER_CONN_MAX_AGE", default=60)
    _database["CONN_HEALTH_CHECKS"] = True
    # A pooler in transaction mode gives each statement another connection.
    _database["DISABLE_SERVER_SIDE_CURSORS"] = True
    _options.setdefault("application_name", "hopper")
    # A message that commits early has several statements (ADR 0018).
    _options["server_side_binding"] = False

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Authentication

HOPPER_AUTO_ROUTE = env.bool("HOPPER_AUTO_ROUTE", default=False)
HOPPER_AUTH = env.word("HOPPER_AUTH", "on", ("on", "off"))
HOPPER_CONFIG_DIR = env.str("HOPPER_CONFIG_DIR", default="")
_archive = env.str("HOPPER_ARCHIVE_DIR", default=str(_store.home / "archive") if _store else "")
HOPPER_ARCHIVE_DIR = Path(_archive) if _archive else None
SECRET_KEY = env.str("HOPPER_SECRET_KEY", default="")
if not SECRET_KEY:
    SECRET_KEY = (_store or embedded.find()).secret_key()
SECRET_KEY_FALLBACKS = env.list("HOPPER_SECRET_KEY_FALLBACKS", default=[])
DEBUG = env.bool("HOPPER_DEBUG", default=False)
ALLOWED_HOSTS = env.list("HOPPER_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_FAILURE_VIEW = "hopper.rest.problem.csrf_failed"
CSRF_TRUSTED_ORIGINS = env.list("HOPPER_CSRF_TRUSTED_ORIGINS", default=[])
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
if env.bool("HOPPER_HTTPS", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# Ten wrong passwords lock the account for the address that sent them, and for no other address.
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = env.int("HOPPER_LOGIN_FAILURES", default=10)
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "hopper.rest.problem.locked_out"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

# Apps, middleware and templates

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "mptt",
    "rest_framework",
    "knox",
    "django_filters",
    "axes",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "hopper",
    "instances",
    "scopes",
    "delegation",
    "delegation.pages",
]
MIDDLEWARE = [
    "hopper.rest.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "hopper.rest.middleware.ContentPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "axes.middleware.AxesMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "hopper.urls"
WSGI_APPLICATION = "hopper.wsgi.application"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("HOPPER_MAX_BODY_BYTES", default=10 * 1024 * 1024)
# A list of the admin site sends one field for each chosen row, of at most 2,000 on a page.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000
HOPPER_REQUESTS_PER_MINUTE = env.int("HOPPER_REQUESTS_PER_MINUTE", default=60_000)
HOPPER_FAILURES_PER_MINUTE = env.int("HOPPER_FAILURES_PER_MINUTE", default=60)
HOPPER_HEAD_SECONDS = env.int("HOPPER_HEAD_SECONDS", default=10)
HOPPER_BODY_SECONDS = env.int("HOPPER_BODY_SECONDS", default=60)
HOPPER_PROXIES = env.str("HOPPER_PROXIES", default="")
HOPPER_WEBHOOK_NETWORKS = env.networks("HOPPER_WEBHOOK_NETWORKS")
HOPPER_NOTIFY_HOSTS = {host.strip().lower() for host in env.list("HOPPER_NOTIFY_HOSTS", default=[])}
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
FORMAT_MODULE_PATH = "hopper.formats"
STATIC_URL = "static/"
# The packages serve the files of the admin and the API page: no collectstatic step on a laptop.
WHITENOISE_USE_FINDERS = env.bool("HOPPER_STATIC_FINDERS", default=True)
_static = "" if WHITENOISE_USE_FINDERS else str(BASE_DIR / "build" / "static")
STATIC_ROOT = env.str("HOPPER_STATIC_ROOT", default=_static) or None

# The REST interface

KNOX_TOKEN_MODEL = "instances.AgentToken"  # noqa: S105 - the name of a model
# The migrations of knox would create the table of the model that Hopper replaces.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {
    "TOKEN_PREFIX": "hop_",
    "TOKEN_TTL": None,
    "AUTH_HEADER_PREFIX": "Bearer",
    "TOKEN_MODEL": KNOX_TOKEN_MODEL,
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "hopper.rest.auth.LocalOperatorAuthentication",
        "hopper.rest.auth.BearerAuthentication",
        "hopper.rest.auth.LeaseAuthentication",
        "rest_framework.authentication.SessionAuthentication",
        *(["hopper.rest.auth.OpenAuthentication"] if HOPPER_AUTH == "off" else []),
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["hopper.rest.throttling.CredentialThrottle"],
    "DEFAULT_PARSER_CLASSES": ["hopper.rest.input.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "hopper.rest.pagination.CursorPage",
    "DEFAULT_SCHEMA_CLASS": "hopper.rest.schema.HopperSchema",
    "EXCEPTION_HANDLER": "drf_standardized_errors.handler.exception_handler",
    "DEFAULT_VERSIONING_CLASS": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "COERCE_DECIMAL_TO_STRING": False,
    "URL_FORMAT_OVERRIDE": None,
}
DRF_STANDARDIZED_ERRORS = {"EXCEPTION_HANDLER_CLASS": "hopper.rest.problem.ProblemHandler"}
SPECTACULAR_SETTINGS = {
    "TITLE": "Hopper",
    "DESCRIPTION": "A hierarchical task queue for people and AI agents.",
    "VERSION": __version__,
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "InstanceStatusEnum": "instances.choices.InstanceStatus",
        "TaskStatusEnum": "instances.choices.TaskStatus",
        "DelegationStatusEnum": "delegation.choices.DelegationStatus",
    },
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# Logs

LEVELS = ("debug", "info", "warning", "error", "critical")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {
            "()": "hopper.logs.TextFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "hopper.logs.JsonFormatter"},
    },
    "filters": {"one_line": {"()": "hopper.logs.OneLine"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": env.word("HOPPER_LOG_FORMAT", "text", ("text", "json")),
        },
    },
    # Any stranger may name a wrong host: the traceback of each would flood the log.
    "loggers": {"django.security.DisallowedHost": {"filters": ["one_line"]}},
    "root": {
        "handlers": ["stderr"],
        "level": env.word("HOPPER_LOG_LEVEL", "warning", LEVELS).upper(),
    },
}
