"""Training algorithms compute from a batch the loss that each optimizer group minimizes.

An algorithm has `forward(model, loss, x, y)`, which is called under a gradient tape and returns the scalar to minimize
and y_pred. It may return a mapping, optimizer group -> scalar, instead of the scalar: then each group minimizes its
own loss, and the first one is reported. An algorithm may also have

    evaluate(model, loss, x, y)             returns each example's loss, (B,), and y_pred, outside of training
    gradients(differentiate, variables)     returns loss, y_pred and gradients, if a step takes more than one pass
    own_targets = True                      if it doesn't learn the data's target
    metrics                                 Keras metrics that it updates itself
    variables                               further variables that are saved in checkpoints

`loss(y, y_pred)` returns one value for each example, (B,), multiplied by the row's weight. The engine does clipping,
schedules, stages, metrics, checkpoints and compilation.

adversarial.py: gan. in_batch.py: in_batch_softmax. meta.py: maml. penalized.py: gradient_penalty. policy.py: reinforce,
with the environments of environments.py. reconstruct.py: reconstruct. sharpness.py: sam. supervised.py: supervised.
"""
