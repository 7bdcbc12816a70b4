"""The command line: one tree of commands, two transports (HTTP and in-process)."""
