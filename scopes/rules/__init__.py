"""The rules: they match words, tags, priority or project of a task with a destination. Pure."""
