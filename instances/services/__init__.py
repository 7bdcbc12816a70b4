"""Every change to instances and tasks: each opens its own transaction and writes its own event."""
