"""Layers: Keras layers; a model builds itself from them, or `model=sequential` names them one after the other.

attention.py: attention_block. bag.py: embedding_bag. cross.py: feature_cross. dense.py: dense. dropout.py: dropout.
draws.py: random numbers for layers. elementwise.py: exponential, gaussian_noise. encode.py: dense_features. impute.py:
impute. normalization.py: layer_normalization. residual.py: residual_block.
"""
