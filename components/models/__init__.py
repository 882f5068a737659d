"""Models: told what their inputs are (`features`) and how many outputs to give (`num_outputs`); outputs are linear.

cnn.py: cnn. linear.py: linear. mlp.py: mlp. regressors.py: reconstructing_regressor, residual_regressor.
residual_mlp.py: residual_mlp. sequential.py: sequential. wide_deep.py: wide_deep. initial.py, inputs.py: what they
share.
"""
