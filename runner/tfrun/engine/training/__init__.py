"""The compiled training loop and everything that runs inside it or drives it."""
