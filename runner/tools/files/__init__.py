"""Tools that read and change an agent's files. Runs on: the agent container."""
