"""YAML and JSON configuration to checked models. Runs on: host."""
