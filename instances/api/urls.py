"""The addresses of lessons, runs, events and the dashboard."""

from __future__ import annotations

from django.urls import path
from rest_framework.routers import SimpleRouter

from instances.api.dashboard_views import (
    AttentionViewSet,
    EventViewSet,
    MeViewSet,
    StatusViewSet,
)
from instances.api.lesson_views import LessonViewSet
from instances.api.run_views import RunViewSet
from instances.api.webhook_views import WebhookViewSet

router = SimpleRouter(trailing_slash=False)
router.register("lessons", LessonViewSet, basename="lesson")
router.register("webhooks", WebhookViewSet, basename="webhook")

urlpatterns = [
    *router.urls,
    path("runs", RunViewSet.as_view({"post": "create"}), name="runs"),
    path("events", EventViewSet.as_view({"get": "list"}), name="events"),
    path("attention", AttentionViewSet.as_view({"get": "retrieve"}), name="attention"),
    path("me", MeViewSet.as_view({"get": "retrieve"}), name="me"),
    path("status", StatusViewSet.as_view({"get": "retrieve"}), name="status"),
]
