"""Containerized runner for MassGen-style multi-agent runs. Runs on: both sides."""

__version__ = "0.1.0"
