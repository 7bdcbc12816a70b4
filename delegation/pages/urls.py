"""The addresses of the pages."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from delegation.pages.acting import act
from delegation.pages.attention import attention
from delegation.pages.flow import flow
from delegation.pages.instance import instance
from delegation.pages.lists import find, mine
from delegation.pages.live import changes
from delegation.pages.metrics import Metrics
from delegation.pages.stream import EventStream, stream
from delegation.pages.task import task
from delegation.pages.tree import tree
from delegation.pages.visit import SignIn

app_name = "pages"

urlpatterns = [
    path("", tree, name="tree"),
    path("attention", attention, name="attention"),
    path("flow", flow, name="flow"),
    path("mine", mine, name="mine"),
    path("find", find, name="find"),
    path("changes", changes, name="changes"),
    path("stream", stream, name="stream"),
    path("api/v1/events/stream", EventStream.as_view({"get": "retrieve"}), name="event-stream"),
    path("sign-in", SignIn.as_view(), name="sign-in"),
    path("sign-out", LogoutView.as_view(next_page="/sign-in"), name="sign-out"),
    path("metrics", Metrics.as_view({"get": "retrieve"}), name="metrics"),
    path("instances/<str:pk>", instance, name="instance"),
    path("instances/<str:pk>/<slug:verb>", act, {"kind": "instances"}, name="act-instance"),
    path("tasks/<str:pk>", task, name="task"),
    path("tasks/<str:pk>/<slug:verb>", act, {"kind": "tasks"}, name="act-task"),
]
