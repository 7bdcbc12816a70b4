"""One behaviour for each scope; scope_behaviors.yaml names the class."""
