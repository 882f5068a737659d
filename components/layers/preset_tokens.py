"""Layers of texts whose tokens are those of a KerasHub preset: their ids, and what comes before and after a network."""

from __future__ import annotations

from typing import Any, Literal

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfrun.layers")
class PresetTokens(keras.layers.Layer):
    """y[i, k] = 1 + the id of token k of x[i, 0], (B, length) int32 for (B, 1) strings; 0 behind the last token.

    The text has the tokenizer's tokens for its start and its end, if there are such; a text that is too long loses
    tokens before the end.

    Args:
        tokenizer: a `keras_hub.tokenizers.Tokenizer`.
        length: the number of tokens to keep.
    """

    def __init__(self, tokenizer: Any, length: int, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.tokenizer = tokenizer
        self.length = length
        # As a graph, since there is one in an export too. Called directly, tokenizers compute in Python, and slowly.
        self._graph = tf.function(self._pack, autograph=False, input_signature=[tf.TensorSpec((None,), tf.string)])

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self._graph(inputs[:, 0])

    def _pack(self, texts: tf.Tensor) -> tf.Tensor:
        from keras_hub.layers import StartEndPacker  # an extra

        pack = StartEndPacker(
            self.length,
            start_value=getattr(self.tokenizer, "start_token_id", None),
            end_value=getattr(self.tokenizer, "end_token_id", None),
            pad_value=0,
            return_padding_mask=True,
        )
        tokens = self.tokenizer(texts)
        # the id of what a vocabulary of bytes lacks is -1
        ids, is_token = pack(tf.ragged.boolean_mask(tokens, tokens >= 0))
        ids = tf.where(is_token, tf.cast(ids, tf.int32) + 1, 0)
        return tf.ensure_shape(ids, (None, self.length))

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor((inputs.shape[0], self.length), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        tokenizer = keras.saving.serialize_keras_object(self.tokenizer)
        return {**super().get_config(), "tokenizer": tokenizer, "length": self.length}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PresetTokens:
        return cls(**{**config, "tokenizer": keras.saving.deserialize_keras_object(config["tokenizer"])})


@keras.saving.register_keras_serializable("tfrun.layers")
class TokenInputs(keras.layers.Layer):
    """Returns the inputs of a network for ids of `PresetTokens`, (B, T): token_ids and padding_mask, (B, T).

    With segments there are segment_ids too, all 0.

    Args:
        pad_id: the tokenizer's id for padding.
        has_segments: whether the network takes segment_ids.
    """

    def __init__(self, pad_id: int, has_segments: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.pad_id = pad_id
        self.has_segments = has_segments

    def call(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        is_token = ids > 0
        inputs = {"token_ids": tf.where(is_token, ids - 1, self.pad_id), "padding_mask": is_token}
        return {**inputs, "segment_ids": tf.zeros_like(ids)} if self.has_segments else inputs

    def compute_output_spec(self, ids: Any) -> dict[str, keras.KerasTensor]:
        inputs = {"token_ids": "int32", "padding_mask": "bool"}
        inputs = {**inputs, "segment_ids": "int32"} if self.has_segments else inputs
        return {name: keras.KerasTensor(ids.shape, dtype=dtype) for name, dtype in inputs.items()}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pad_id": self.pad_id, "has_segments": self.has_segments}


@keras.saving.register_keras_serializable("tfrun.layers")
class TokenPooling(keras.layers.Layer):
    """Makes one vector, (B, C), of the vectors of a text's tokens, (B, T, C), without those of padding.

    Args:
        how: `average`, `max`, or the vector of the `first` or the `last` token.
    """

    def __init__(self, how: Literal["average", "max", "first", "last"], **kwargs: Any):
        super().__init__(**kwargs)
        self.how = how

    def call(self, vectors: tf.Tensor, is_token: tf.Tensor) -> tf.Tensor:
        if self.how == "first":
            return vectors[:, 0]
        if self.how == "last":
            last = tf.reduce_sum(tf.cast(is_token, tf.int32), axis=1) - 1
            return tf.gather(vectors, tf.maximum(last, 0), batch_dims=1)
        if self.how == "max":
            return tf.reduce_max(tf.where(is_token[:, :, None], vectors, vectors.dtype.min), axis=1)
        weights = tf.cast(is_token, vectors.dtype)[:, :, None]
        return tf.reduce_sum(vectors * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1)

    def compute_output_shape(self, vectors_shape: Any, is_token_shape: Any = None) -> tuple[int | None, int]:
        return vectors_shape[0], vectors_shape[2]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "how": self.how}
