"""Commands. Runs on: host."""
