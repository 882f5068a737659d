"""What tfrun writes to disk, and how it reads it again. Imports no TensorFlow."""
