"""The commands: arguments in, API calls out, data back; nothing is printed here."""
