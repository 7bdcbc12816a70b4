"""The Django app of the pages, for their templates, filters and static files."""

from __future__ import annotations

from django.apps import AppConfig


class PagesConfig(AppConfig):
    """The pages."""

    name = "delegation.pages"
    label = "pages"
