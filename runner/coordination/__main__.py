"""Entry point of the run container: carry out the spec, exit with its code. Runs on: the run
container."""

import sys

from runner.coordination.process import main

if __name__ == "__main__":
    sys.exit(main())
