"""`python -m bench.forwarder`: model calls out of an agent's container. Runs on: host."""
