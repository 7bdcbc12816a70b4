"""Serving a team: the ASGI application, its connections and the processes of `hopper serve`."""
