"""The YAML configs that tfrun ships; Hydra reads them as `pkg://tfrun.conf`."""
