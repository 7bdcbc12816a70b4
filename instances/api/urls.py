"""The addresses of instances, tasks, events and the dashboard."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from instances.api.dashboard_views import (
    AttentionViewSet,
    EventViewSet,
    MeViewSet,
    StatusViewSet,
)
from instances.api.instance_views import InstanceViewSet
from instances.api.lesson_views import LessonViewSet
from instances.api.task_views import TaskViewSet
from instances.api.webhook_views import WebhookViewSet

router = SimpleRouter(trailing_slash=False)
router.register("instances", InstanceViewSet, basename="instance")
router.register("tasks", TaskViewSet, basename="task")
router.register("lessons", LessonViewSet, basename="lesson")
router.register("webhooks", WebhookViewSet, basename="webhook")

urlpatterns = [
    *router.urls,
    path("events", EventViewSet.as_view({"get": "list"}), name="events"),
    path("attention", AttentionViewSet.as_view({"get": "retrieve"}), name="attention"),
    path("me", MeViewSet.as_view({"get": "retrieve"}), name="me"),
    path("status", StatusViewSet.as_view({"get": "retrieve"}), name="status"),
]
