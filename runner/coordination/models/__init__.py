"""Clients that speak the model protocols to the run socket. Runs on: the run container."""
