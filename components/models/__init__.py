"""Models: told what their inputs are (`features`) and how many outputs to give (`num_outputs`); outputs are linear.

wide_deep.py: wide_deep. mlp.py: mlp. residual_mlp.py: residual_mlp. linear.py: linear. cnn.py: cnn. inputs.py,
activation.py: what they share.
"""
