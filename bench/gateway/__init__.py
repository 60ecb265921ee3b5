"""`python -m bench.gateway`: the gateway alone, beside LiteLLM's proxy. Runs on: host."""

MODEL = "gpt-4o-mini"
"""A name with a price, so that both sides count what calls cost."""
