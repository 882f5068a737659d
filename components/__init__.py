"""The components that tfrun ships, a folder for each family.

Nothing is imported here: the catalog reads the files without importing them, and a run imports only what it names.
"""

if __name__ != "tfrun.components":  # `import components` would make a second registry beside the real one
    raise ImportError(f"import it as 'tfrun.components', not as '{__name__}'")
