"""Models: each is a `keras.Model`, or a function that returns one, built for a data set's features.

A model may take `features` (`tfrun.data.table.Features`), which describes its inputs, `num_outputs`, the number of
outputs, and `more_outputs`, those of further targets. It returns (B, num_outputs), without an activation at the end, or
a mapping from names to such tensors. It may have `optimizer_groups`, the optimizer groups that it asks for, and
`loss_weights`, a weight for the loss of each output.

autoencoder.py: autoencoder. cnn.py: cnn. dcn_v2.py: dcn_v2. deepfm.py: deepfm. fixed_point.py: fixed_point. gan.py:
gan. linear.py: linear. mc_dropout.py: mc_dropout. mlp.py: mlp. multi_task.py: multi_task. pointwise.py: pointwise.
pretrained.py: pretrained. regressors.py: reconstructing_regressor, residual_regressor. residual_mlp.py: residual_mlp.
seasonal_naive.py: seasonal_naive. sequence.py: sequence. sequential.py: sequential. two_tower.py: two_tower.
wide_deep.py: wide_deep. hidden.py, initial.py, inputs.py, subclassed.py: code that the models share. backbones.py,
applications.py, presets.py, saved_networks.py: the networks of `pretrained`.
"""
