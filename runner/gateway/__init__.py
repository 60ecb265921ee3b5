"""The way from a run's socket to the providers: credentials, routes, usage. Runs on: host."""
