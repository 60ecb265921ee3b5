"""Import path of the automation guide. Runs on: host."""
