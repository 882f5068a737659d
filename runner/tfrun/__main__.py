"""Runs the command line as `python -m tfrun`."""

import sys

from tfrun.cli import main

if __name__ == "__main__":
    sys.exit(main())
