"""Augmentations change the examples of training batches at random, inside the compiled step.

An augmentation is a class whose objects are called with `(values, draws)` and return changed values of the same shape
and dtype. Images are always (B, height, width, channels). `draws.uniform(*shape)` returns (B, *shape) random numbers
from 0 to below 1, `draws.normal(*shape)` those of mean 0 and deviation 1. A class may also have

    takes = "values"    it changes numbers and arrays of any shape; "images", the default, only arrays that are images
    mixes = True        it is called with `(values, others, draws)`, where row i of `others` is another row of the
                        batch, and returns the mixed values and the share of each row's own, (B,) from 0 to 1

color.py: random_brightness, random_contrast. cutting.py: cutout. geometry.py: random_crop, random_flip, random_rotate,
random_shift, with the gathers of resampling.py. mixing.py: cutmix, mixup, with the boxes of boxes.py. noise.py: noise.
"""
