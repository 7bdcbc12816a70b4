"""Setting up an agent: its entry of the MCP server, its hooks, and a few lines of instruction."""
