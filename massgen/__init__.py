"""Import paths of the automation guide; everything here comes from `runner`. Runs on: host."""
