"""Addresses of decisions, feedback and rules."""

from __future__ import annotations

from django.urls import path

from scopes.api.views import RuleViewSet, SettingsViewSet, TaskDecisionViewSet, TaskFeedbackViewSet

urlpatterns = [
    path(
        "tasks/<str:pk>/decisions",
        TaskDecisionViewSet.as_view({"get": "list"}),
        name="task-decisions",
    ),
    path(
        "tasks/<str:pk>/feedback",
        TaskFeedbackViewSet.as_view({"get": "list", "post": "create"}),
        name="task-feedback",
    ),
    path(
        "instances/<str:pk>/settings",
        SettingsViewSet.as_view({"get": "retrieve"}),
        name="instance-settings",
    ),
    path("rules", RuleViewSet.as_view({"get": "list"}), name="rules"),
]
