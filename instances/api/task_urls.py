"""The addresses of tasks."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from instances.api.task_views import TaskViewSet

router = SimpleRouter(trailing_slash=False)
router.register("tasks", TaskViewSet, basename="task")

urlpatterns = router.urls
