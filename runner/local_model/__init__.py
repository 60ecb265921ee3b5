"""The model that needs no key: its weights and its server. Runs on: host."""
