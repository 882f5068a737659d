"""Holds the components that tfrun ships, one folder per family.

This file imports nothing: the catalog reads the component files without importing them, and a run imports only the
components that it names.
"""

if __name__ != "tfrun.components":  # `import components` would create a second registry beside the real one
    raise ImportError(f"import it as 'tfrun.components', not as '{__name__}'")
