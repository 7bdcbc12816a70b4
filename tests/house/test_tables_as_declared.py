"""The tables have every constraint and index that a model names: no migration loses one."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Model

ROOMS = ("instances", "scopes", "delegation")
MODELS = [model for room in ROOMS for model in apps.get_app_config(room).get_models()]


@pytest.mark.django_db
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_table_has_the_constraints_and_indexes_of_its_model(model: type[Model]) -> None:
    with connection.cursor() as cursor:
        present = connection.introspection.get_constraints(cursor, model._meta.db_table)
    declared = {one.name for one in (*model._meta.constraints, *model._meta.indexes)}
    assert declared - present.keys() == set()
