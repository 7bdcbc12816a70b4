"""The address of the MCP server."""

from __future__ import annotations

from django.urls import path

from instances.mcp.view import McpView

urlpatterns = [path("mcp", McpView.as_view(), name="mcp")]
