"""The app of decisions."""

from __future__ import annotations

from django.apps import AppConfig


class ScopesConfig(AppConfig):
    """Scopes: the decisions of each scope and their records."""

    default_auto_field = "django.db.models.BigAutoField"
    name = "scopes"
    verbose_name = "Decisions"

    def ready(self) -> None:
        """Register the keys and the file of this room, with their checks and proofs."""
        from hopper.config.files import CONFIGURATION

        CONFIGURATION.register_late(_register)


def _register() -> None:
    """Register the keys, the checks, the proofs and the file of this room."""
    from hopper.config.files import CONFIGURATION
    from hopper.config.registry import BEHAVIORS, register
    from scopes import deciding, expectations, settings
    from scopes.rules import engine

    register(settings.BEHAVIOR, settings.ROUTING, settings.OFFERS, expectations.EXPECTATIONS)
    BEHAVIORS.checks += [deciding.check_behaviors]
    BEHAVIORS.proofs += [deciding.prove_behaviors, expectations.failed_expectations]
    engine.RULES.checks += [engine.check_rules, engine.failed_expectations]
    CONFIGURATION.add(engine.RULES)
