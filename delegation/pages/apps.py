"""The Django app of the pages, for their templates, filters and static files."""

from __future__ import annotations

from django.apps import AppConfig

from hopper.serving.warming import AT_START


class PagesConfig(AppConfig):
    """The pages."""

    name = "delegation.pages"
    label = "pages"

    def ready(self) -> None:
        """Make a server read the tree before the first person opens a page."""
        AT_START.append(_read_the_tree)


def _read_the_tree() -> None:
    from delegation.pages.watch import WATCH

    WATCH.look()
