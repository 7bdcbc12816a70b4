"""Webhooks: who may subscribe, what is sent, to which addresses, and the sending itself."""
