"""What agents do, and the server that does it for them. Runs on: the agent container."""
