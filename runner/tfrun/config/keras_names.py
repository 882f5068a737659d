"""The names of Keras' own activations, layers and so on, which a config may use besides registered components.

Also of Keras' metrics that say which of two values is the better one, for metrics that are derived from them.

They are listed here, since importing Keras to ask for them would take seconds; a test compares the list with Keras.
"""

from __future__ import annotations

KERAS_NAMES: dict[str, tuple[str, ...]] = {
    "activation": (
        *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish"),
        *("hard_tanh", "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu"),
        *("sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid"),
        *("sparsemax", "squareplus", "swish", "tanh", "tanh_shrink", "threshold"),
    ),
    "constraint": ("max_norm", "min_max_norm", "non_neg", "unit_norm"),
    "initializer": (
        *("constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal"),
        *("lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform", "truncated_normal"),
        *("variance_scaling", "zeros"),
    ),
    "layer": (  # layers with one input
        *("Activation", "AlphaDropout", "AveragePooling1D", "AveragePooling2D", "BatchNormalization", "Conv1D"),
        *("Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Cropping1D", "Cropping2D", "Dense", "DepthwiseConv1D"),
        *("DepthwiseConv2D", "Dropout", "ELU", "EinsumDense", "Flatten", "GRU", "GaussianDropout", "GaussianNoise"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        *("GroupNormalization", "Identity", "LSTM", "LayerNormalization", "LeakyReLU", "MaxPooling1D", "MaxPooling2D"),
        *("PReLU", "Permute", "RMSNormalization", "ReLU", "RepeatVector", "Rescaling", "Reshape", "SeparableConv1D"),
        *("SeparableConv2D", "SimpleRNN", "Softmax", "SpatialDropout1D", "SpatialDropout2D", "UnitNormalization"),
        *("UpSampling1D", "UpSampling2D", "ZeroPadding1D", "ZeroPadding2D"),
    ),
    "regularizer": ("l1", "l1l2", "l2", "orthogonal_regularizer"),
}
KERAS_METRICS: dict[str, bool] = {  # class -> whether a greater value is better
    **dict.fromkeys(
        (
            *("AUC", "Accuracy", "BinaryAccuracy", "BinaryIoU", "CategoricalAccuracy", "ConcordanceCorrelation"),
            *("CosineSimilarity", "F1Score", "FBetaScore", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"),
            *("PearsonCorrelation", "Precision", "PrecisionAtRecall", "R2Score", "Recall", "RecallAtPrecision"),
            *("SensitivityAtSpecificity", "SparseCategoricalAccuracy", "SparseTopKCategoricalAccuracy"),
            *("SpecificityAtSensitivity", "TopKCategoricalAccuracy", "TrueNegatives", "TruePositives"),
        ),
        True,
    ),
    **dict.fromkeys(
        (
            *("BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "FalseNegatives", "FalsePositives"),
            *("Hinge", "KLDivergence", "LogCoshError", "MeanAbsoluteError", "MeanAbsolutePercentageError"),
            *("MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "RootMeanSquaredError"),
            *("SparseCategoricalCrossentropy", "SquaredHinge"),
        ),
        False,
    ),
}
WITHOUT_PARAMETERS = ("activation",)  # plain functions, so a mapping with parameters makes no sense
