"""Delegation: moving tasks along the tree, and reporting their ends upwards."""
