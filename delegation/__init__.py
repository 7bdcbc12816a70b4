"""Doing it: the delegation record, the protocol, the bubbling."""
