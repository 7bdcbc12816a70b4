"""The rules of the protocol as a model without a database, walked in full and held against it."""
