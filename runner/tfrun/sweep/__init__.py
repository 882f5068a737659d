"""Sweeps: Hydra launchers that give each job a process of its own."""
