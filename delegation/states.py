"""The transition table of delegations (R7)."""

from __future__ import annotations

from hopper.protocol import DELEGATION

__all__ = ["DELEGATION"]
