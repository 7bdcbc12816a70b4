"""MCP over HTTP: the tools of `hopper mcp` at `/mcp`, with the rights of the caller's token."""
