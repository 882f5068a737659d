"""Settings become objects: devices, model, loss, metrics, optimizers and the program."""
