"""The mount written down as types: what host and container agree on. Runs on: both sides."""
