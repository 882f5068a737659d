"""Training algorithms: which loss is computed from a batch, and which optimizer group it drives.

An algorithm has `forward(model, loss, x, y)`, called under a gradient tape: it gives the scalar to minimize and y_pred.
A mapping, optimizer group -> scalar, gives each group its own loss; the first one is reported. It may also have

    evaluate(model, loss, x, y)             each example's loss, (B,), and y_pred, outside of training
    gradients(differentiate, variables)     loss, y_pred and gradients, where one pass is not enough
    own_targets = True                      where it doesn't learn the data's target
    metrics                                 Keras metrics that it updates itself
    variables                               what else a resumed run has to find again

`loss(y, y_pred)` gives one value for each example, (B,), its row's weight included. Clipping, schedules, stages,
metrics, checkpoints and compilation are the engine's.

adversarial.py: gan. meta.py: maml. penalized.py: gradient_penalty. policy.py: reinforce, in what environments.py
offers. reconstruct.py: reconstruct. sharpness.py: sam. supervised.py: supervised.
"""
