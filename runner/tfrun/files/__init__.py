"""The files that tfrun writes to disk, and how it reads them again. Imports no TensorFlow."""
