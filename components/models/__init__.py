"""Models: told what their inputs are (`features`) and how many outputs to give (`num_outputs`); outputs are linear.

autoencoder.py: autoencoder. cnn.py: cnn. fixed_point.py: fixed_point. gan.py: gan. linear.py: linear. mc_dropout.py:
mc_dropout. mlp.py: mlp. multi_task.py: multi_task. pointwise.py: pointwise. regressors.py: reconstructing_regressor,
residual_regressor. residual_mlp.py: residual_mlp. sequence.py: sequence. sequential.py: sequential. wide_deep.py:
wide_deep. initial.py, inputs.py, subclassed.py: what they share.
"""
