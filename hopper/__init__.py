"""Hopper: a hierarchical task queue for people and AI agents."""

__version__ = "2.0.0"
