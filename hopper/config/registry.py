"""The registry of settings: the keys of each app, and the values for an instance."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, Field, RootModel, ValidationError, create_model

from hopper.config.document import SHIPPED
from hopper.config.files import CONFIGURATION, ConfigFile
from hopper.config.sections import Section, message_of, require_known
from hopper.protocol import PARENTS

if TYPE_CHECKING:
    from pydantic import BaseModel

logger = logging.getLogger(__name__)

Keys = TypeVar("Keys", bound=Section)


@dataclass(frozen=True)
class Traced:
    """A setting and its source: "shipped", "instance", or the operator's file and line."""

    value: Any
    source: str
    line: int | None = None


@dataclass(frozen=True, eq=False)
class Part(Generic[Keys]):
    """The keys of one concept, with types and defaults.

    The `file` gives values by scope, under the key `section` if set. An instance may set the keys
    in its own `config`, unless `own` is false.
    """

    model: type[Keys]
    file: ConfigFile[Any]
    section: str = ""
    own: bool = True

    def of_scope(self, scope: str) -> Keys:
        """Return the values that the files give for a scope."""
        found = self.file.current().value.root[scope]
        return cast("Keys", getattr(found, self.section) if self.section else found)

    def of(self, scope: str, config: Mapping[str, Any]) -> Keys:
        """Return the values of an instance: its own `config` over those of its scope."""
        base, own = self.of_scope(scope), own_values(config)
        mine = {key: own[key] for key in own.keys() & self.model.model_fields.keys()}
        return base.model_copy(update=mine) if mine else base

    def traced(self, scope: str, key: str) -> Traced:
        """Return the value that the files give for a scope, with its source."""
        path = (scope, self.section, key) if self.section else (scope, key)
        place = self.file.current().place(*path)
        line = None if place.source == SHIPPED else place.line
        return Traced(getattr(self.of_scope(scope), key), place.source, line)


_parts: list[Part[Any]] = []
_own_only: list[type[Section]] = []


def register(*parts: Part[Any], own_only: tuple[type[Section], ...] = ()) -> None:
    """Register keys of the configuration. Each app does this by `CONFIGURATION.register_late`.

    The keys of `own_only` stand in no file, only in the `config` of instances.
    """
    _parts.extend(parts)
    _own_only.extend(own_only)
    for made in (_model_of, _own_model, own_keys, setting_keys):
        made.cache_clear()


@cache
def own_keys() -> frozenset[str]:
    """Return the keys of `instance.config` that Hopper uses."""
    return frozenset(_own_model().model_fields)


@cache
def setting_keys() -> frozenset[str]:
    """Return the keys of `instance.config` that the files may also set."""
    return frozenset(key for part in _settable() for key in part.model.model_fields)


def effective_settings(scope: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return every setting of an instance by its key.

    Shipped defaults, then the operator's files, then the instance's own `config`.
    """
    found: dict[str, Any] = {}
    for part in _settable():
        base = part.of_scope(scope)
        found |= {key: getattr(base, key) for key in part.model.model_fields}
    return {**found, **{k: v for k, v in own_values(config).items() if k in found}}


def traced_settings(scope: str, config: Mapping[str, Any]) -> dict[str, Traced]:
    """Return every setting of an instance with its source."""
    own = own_values(config)
    return {
        key: Traced(own[key], "instance") if key in own else part.traced(scope, key)
        for part in _settable()
        for key in part.model.model_fields
    }


def own_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the known keys that an instance sets in its `config`.

    Services refuse a value of a wrong type. A stored value of a wrong type is ignored.
    """
    mentioned = {key: config[key] for key in own_keys() & config.keys()}
    if not mentioned:
        return {}
    return _sound_values(_own_model(), json.dumps(mentioned, sort_keys=True, default=str))


def config_errors(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the faults of an instance's `config` as (key, message); [] where there are none.

    The known keys are the same for every scope. Other keys belong to the user and are never wrong.
    """
    return _errors(_own_model(), {key: config[key] for key in own_keys() & config.keys()})


def _errors(model: type[BaseModel], mentioned: Mapping[str, Any]) -> list[tuple[str, str]]:
    try:
        model.model_validate(mentioned)
    except ValidationError as error:
        return sorted({str(one["loc"][0]): message_of(one) for one in error.errors()}.items())
    return []


@lru_cache(maxsize=4096)
def _sound_values(model: type[BaseModel], text: str) -> Mapping[str, Any]:
    """Return the valid values of a JSON object. Caches the result for each text."""
    mentioned = json.loads(text)
    wrong = [key for key, _ in _errors(model, mentioned)]
    if wrong:
        logger.warning("settings ignored", extra={"event": "config.ignored", "keys": wrong})
    own = model.model_validate({k: v for k, v in mentioned.items() if k not in wrong})
    return {key: getattr(own, key) for key in own.model_fields_set}


def _settable() -> list[Part[Any]]:
    CONFIGURATION.register_all()
    return [part for part in _parts if part.own]


@cache
def _own_model() -> type[BaseModel]:
    CONFIGURATION.register_all()
    return _joined("OwnConfig", [*_own_only, *(part.model for part in _settable())])


@cache
def _model_of(file: ConfigFile[Any]) -> type[BaseModel]:
    CONFIGURATION.register_all()
    parts = [part for part in _parts if part.file is file]
    sections = {
        part.section: (part.model, Field(default_factory=part.model))
        for part in parts
        if part.section
    }
    plain = [part.model for part in parts if not part.section]
    section = _joined("ScopeSection", plain, **sections)

    # The type checker does not know a model that is made from the rooms' parts.
    class Scopes(RootModel[Annotated[dict[str, section], BeforeValidator(_scopes_only)]]):  # type: ignore[valid-type]
        model_config = ConfigDict(defer_build=True)

    return Scopes


def _joined(name: str, models: list[type[Section]], **fields: Any) -> type[BaseModel]:
    return create_model(name, __base__=tuple(models) or (Section,), **fields)


def _scopes_only(value: dict[str, Any]) -> dict[str, Any]:
    # Before the keys: under a word that is no scope, keys would seem to be missing.
    require_known(value, tuple(PARENTS), "scope")
    return value


# These files have the same keys for each scope. The apps register the keys.
BEHAVIORS: ConfigFile[Any] = ConfigFile("scope_behaviors.yaml", lambda: _model_of(BEHAVIORS))
POLICIES: ConfigFile[Any] = ConfigFile("delegation_policies.yaml", lambda: _model_of(POLICIES))
