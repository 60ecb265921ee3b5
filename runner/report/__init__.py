"""What people see of a run. Runs on: host."""
