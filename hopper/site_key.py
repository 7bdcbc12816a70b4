"""The key of the site, from which the tokens of leases (R21) and the secrets of webhooks derive.

The key is `HOPPER_SECRET_KEY`, or the secret of the embedded store. A token that derives from a key
in `HOPPER_SECRET_KEY_FALLBACKS` stays valid, so that the key can be replaced while leases are live.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

FIRST_EPOCH = 1
"""The epoch of a task that was never opened again."""
_TOKEN_BYTES = 18
_MAX_DIGITS = 9
"""The most digits of the number of an attempt."""


def lease_token(task_id: str, attempt: int, epoch: int) -> str:
    """Return the token of a lease: the number of its attempt, a dot, and 24 characters."""
    return _derived(settings.SECRET_KEY, task_id, attempt, epoch)


def is_lease_token(token: str, task_id: str, attempt: int, epoch: int) -> bool:
    """Return whether `token` is the token of this lease, under the present key or an older one."""
    return any(
        constant_time_compare(token, _derived(key, task_id, attempt, epoch)) for key in _keys()
    )


def attempt_of(token: str) -> int | None:
    """Return the number of the attempt that a text names as the token of a lease; None for none."""
    number = token.partition(".")[0]
    told = token.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS
    return int(number) if told else None


def first_lease(task_id: str, token: str) -> int | None:
    """Return the number of the attempt whose lease this is, if the lease is of the first epoch.

    None for any other text. The token proves that the lease was granted.
    """
    number = attempt_of(token)
    if number is None or not is_lease_token(token, task_id, number, FIRST_EPOCH):
        return None
    return number


def webhook_secret(webhook_id: str, number: int) -> str:
    """Return the secret of a webhook with this number: `whsec_` and 32 bytes in base64."""
    return _secret(settings.SECRET_KEY, webhook_id, number)


def webhook_secrets(webhook_id: str, number: int) -> list[str]:
    """Return the secret of this number under the present key, then those under older keys."""
    return [_secret(key, webhook_id, number) for key in _keys()]


def fingerprint() -> str:
    """Return a name of the present key that does not tell the key: 16 hexadecimal digits."""
    return _fingerprint(settings.SECRET_KEY)


def known_fingerprints() -> set[str]:
    """Return the fingerprints of the keys whose tokens this server takes."""
    return set(map(_fingerprint, _keys()))


def _keys() -> tuple[str, ...]:
    return (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)


def _derived(key: str, task_id: str, attempt: int, epoch: int) -> str:
    lease = f"{task_id} {attempt} {epoch}"
    code = salted_hmac("hopper.lease", lease, secret=key, algorithm="sha256").digest()
    return f"{attempt}.{urlsafe_b64encode(code[:_TOKEN_BYTES]).decode()}"


def _secret(key: str, webhook_id: str, number: int) -> str:
    named = f"{webhook_id} {number}"
    code = salted_hmac("hopper.webhook", named, secret=key, algorithm="sha256").digest()
    return f"whsec_{b64encode(code).decode()}"


def _fingerprint(key: str) -> str:
    return salted_hmac("hopper.site", "", secret=key, algorithm="sha256").hexdigest()[:16]
