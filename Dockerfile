# The run image; see images/run/README.md
