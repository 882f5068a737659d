"""Checks of components and configs without training, and the diagnosis of a diverged step."""
