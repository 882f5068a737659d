"""Components in an installed package: one of each kind that people write most."""
