"""The pages: the live tree, what waits for a person, the way of one task, the flow."""
