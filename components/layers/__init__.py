"""Layers: Keras layers, which models are built from; `model=sequential` stacks layers named in the config.

A layer offers `call`, `get_config` and, if its output has another shape than its input, `compute_output_shape`. A layer
that doesn't take floats, (B, F), may have `example_inputs()`, the inputs that `tfrun check` tests it with.

attention.py: attention_block. bag.py: embedding_bag. columns.py, hashed.py: vectors of ids. cross.py: feature_cross.
dense.py: dense. dropout.py: dropout. draws.py: random numbers for layers. elementwise.py: exponential, gaussian_noise.
embedding.py: embedding. encode.py: dense_features. impute.py: impute. lookup.py: tables that are read by rows.
normalization.py: layer_normalization. residual.py: residual_block.
"""
