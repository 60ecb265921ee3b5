"""Agents answer, restart, vote and present. Runs on: the run container."""
