"""The MCP server: tools, resources and prompts for agents, with the rights of the caller.

It is a client of the API like every other command and imports no app. Only `hopper mcp` loads
these modules, because the SDK (the extra `mcp`) takes longer to load than all the rest.
"""
