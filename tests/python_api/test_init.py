"""What `import tfrun` offers, and what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tfrun

LATER = ("tensorflow", "keras", "pandas", "polars", "pyarrow", "hydra", "omegaconf", "yaml", "rich", "IPython")


def test_importing_tfrun_imports_little() -> None:
    code = "import sys, tfrun; from tfrun import *; assert open.__module__ in ('io', '_io')\n"
    code += f"print(*(name for name in {LATER} if name in sys.modules))\n"
    code += "tfrun.open\nprint(*(name for name in ('tensorflow', 'keras', 'pandas', 'polars') if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (result.returncode, result.stdout) == (0, "\n\n"), result.stderr


def test_the_names_are_there() -> None:
    assert {"Run", "open", "run", "runs"} <= set(dir(tfrun))
    assert tfrun.open.__module__ == "tfrun.python_api.opened"
    with pytest.raises(AttributeError, match="module 'tfrun' has no attribute 'runz'"):
        _ = tfrun.runz
