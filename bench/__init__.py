"""Measures the runner, and MassGen beside it. Runs on: host."""
