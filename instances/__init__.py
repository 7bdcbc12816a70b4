"""The tree of instances and the tasks standing in them."""
