"""The addresses of delegations, and their additions to tasks and instances."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from delegation.api.views import (
    DelegationViewSet,
    InstanceDelegationViewSet,
    PreviewViewSet,
    TaskDelegationViewSet,
)

router = SimpleRouter(trailing_slash=False)
router.register("delegations", DelegationViewSet, basename="delegation")

_of_task = TaskDelegationViewSet.as_view

urlpatterns = [
    *router.urls,
    path("tasks/<str:pk>/delegate", _of_task({"post": "delegate"}), name="task-delegate"),
    path("tasks/<str:pk>/delegations", _of_task({"get": "delegations"}), name="task-delegations"),
    path("tasks/<str:pk>/route", _of_task({"post": "route"}), name="task-route"),
    path("tasks/<str:pk>/decompose", _of_task({"post": "decompose"}), name="task-decompose"),
    path("tasks/<str:pk>/escalate", _of_task({"post": "escalate"}), name="task-escalate"),
    path("rules/preview", PreviewViewSet.as_view({"post": "create"}), name="rules-preview"),
    path(
        "instances/<str:pk>/delegations",
        InstanceDelegationViewSet.as_view({"get": "list"}),
        name="instance-delegations",
    ),
]
