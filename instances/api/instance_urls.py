"""The addresses of instances."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from instances.api.instance_views import InstanceViewSet

router = SimpleRouter(trailing_slash=False)
router.register("instances", InstanceViewSet, basename="instance")

urlpatterns = router.urls
