"""Tests of the gateway, on real sockets. Runs on: host."""
