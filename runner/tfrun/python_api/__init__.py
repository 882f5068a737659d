"""Opens runs, compares them and trains new ones from Python, in a notebook for example: `docs/python.md`.

opened.py: an opened run. compared.py: a table of runs. training.py: trains a new run. process.py: does so in a process
of its own, which is child.py. display.py: what is shown meanwhile. frames.py: makes frames of columns.

These names are attributes of `tfrun`, which imports this package when one of them is asked for.
"""

from tfrun.python_api.compared import runs
from tfrun.python_api.opened import Run, open
from tfrun.python_api.training import run

__all__ = ["Run", "open", "run", "runs"]
