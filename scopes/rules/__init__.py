"""The rules: which destination a task's words, tags, priority or project speak for. Pure."""
