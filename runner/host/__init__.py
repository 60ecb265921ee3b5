"""Containers, run directories and supervision. Runs on: host."""
