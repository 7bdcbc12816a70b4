"""Every refusal of Hopper: a stable code, an HTTP status, and a message with data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FieldError:
    """One invalid input: the field, a stable code, and a message that names the allowed values."""

    field: str
    code: str
    detail: str


class HopperError(Exception):
    """Base of all refusals: Hopper cannot carry out the request."""

    status = 400
    code = "error"

    def __init__(
        self, detail: str = "", *, code: str = "", errors: Sequence[FieldError] = (), **extra: Any
    ) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.extra: Mapping[str, Any] = extra
        super().__init__(self.detail)


class Invalid(HopperError):
    """The input is not valid."""

    code = "invalid"

    @classmethod
    def field(cls, field: str, detail: str, code: str = "invalid") -> Invalid:
        """Return the error for one field."""
        return cls(f"{field}: {detail}", errors=[FieldError(field, code, detail)])


class NotAllowed(HopperError):
    """You may see this but not do it."""

    status = 403
    code = "not_allowed"


class NotFound(HopperError):
    """No object that you may see has this id."""

    status = 404
    code = "not_found"


class Archived(NotFound):
    """The task is in the archive, no longer in the database."""

    status = 410
    code = "archived"


class Conflict(HopperError):
    """The present state does not allow this."""

    status = 409
    code = "conflict"


class InvalidTransition(Conflict):
    """This state cannot change into that one."""

    code = "invalid_transition"


class AlreadyEnded(Conflict):
    """This has ended already, with another value or in another way (R20)."""

    code = "already_ended"


class NotAccepting(Conflict):
    """The instance takes no tasks in its present state (R3)."""

    code = "not_accepting"


class AlreadyDelegated(Conflict):
    """Another delegation of this task is pending (R7)."""

    code = "already_delegated"


class LeaseLost(Conflict):
    """The lease has ended. The task goes on without this worker (R21)."""

    code = "lease_lost"


class Gone(HopperError):
    """The task was cancelled, or its instance terminated, while the worker worked (R21)."""

    status = 410
    code = "gone"


class VersionChanged(HopperError):
    """The object is no longer the one that you read (If-Match)."""

    status = 412
    code = "version_changed"


class RuleBroken(HopperError):
    """A rule forbids this, whatever the state."""

    status = 422
    code = "rule_broken"
