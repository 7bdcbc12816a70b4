"""The configuration: the shipped YAML files, and how YAML files are read, checked and swapped."""
