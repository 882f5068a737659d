"""Presets of KerasHub, and folders of Hugging Face and timm, as the backbones of models, with their tokenizers."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrun.components.layers.preset_tokens import TokenPooling
from tfrun.components.models.pretrained import pretrained
from tfrun.config.column_kinds import TokensKind
from tfrun.config.settings import InitSettings
from tfrun.data.kinds import RawColumn, TokensColumn
from tfrun.data.layers import tokens_model
from tfrun.data.table import Features
from tfrun.engine.building.initial_weights import begin
from tfrun.errors import ConfigError, ResourceError
from tfrun.files.presets import Preset, TokenizerFacts

hub = pytest.importorskip("keras_hub", reason="needs the extra `hub`")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "##ly", "film", "."]
TEXTS = np.array(["Goodly film", "bad film .", "", "good good good good good good good", "unknown"], dtype=object)
LENGTH = 6
IDS = [  # each id is one more than the token's; [CLS] is token 2, [SEP] 3, [UNK] 1
    [3, 6, 8, 9, 4, 0],
    [3, 7, 9, 10, 4, 0],
    [3, 4, 0, 0, 0, 0],
    [3, 6, 6, 6, 6, 4],
    [3, 2, 4, 0, 0, 0],
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with its tokenizer, saved by KerasHub."""
    folder = tmp_path_factory.mktemp("presets") / "bert"
    keras.utils.set_random_seed(1)
    network = hub.models.BertBackbone(
        vocabulary_size=len(WORDS), num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=12
    )
    network.save_to_preset(str(folder))
    hub.models.BertTokenizer(vocabulary=WORDS, lowercase=True).save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as Hugging Face's transformers save it, written by hand."""
    folder = tmp_path_factory.mktemp("hugging_face")
    config = {
        "model_type": "bert", "vocab_size": len(WORDS), "num_hidden_layers": 1, "num_attention_heads": 2,
        "hidden_size": 4, "intermediate_size": 6, "max_position_embeddings": 8,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS), 4), "embeddings.position_embeddings.weight": (8, 4),
        "embeddings.token_type_embeddings.weight": (2, 4), "pooler.dense.weight": (4, 4), "pooler.dense.bias": (4,),
        "encoder.layer.0.intermediate.dense.weight": (6, 4), "encoder.layer.0.intermediate.dense.bias": (6,),
        "encoder.layer.0.output.dense.weight": (4, 6), "encoder.layer.0.output.dense.bias": (4,),
    }  # fmt: skip
    for part in ("self.query", "self.key", "self.value", "output.dense"):
        shapes[f"encoder.layer.0.attention.{part}.weight"] = (4, 4)
        shapes[f"encoder.layer.0.attention.{part}.bias"] = (4,)
    for part in ("embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"):
        shapes |= {f"{part}.LayerNorm.weight": (4,), f"{part}.LayerNorm.bias": (4,)}
    random = np.random.default_rng(2)
    arrays = {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    pytest.importorskip("safetensors.numpy").save_file(arrays, folder / "model.safetensors")
    return folder


def column(folder: Path | str, length: int = LENGTH) -> TokensColumn:
    raw = RawColumn("review", TEXTS, np.arange(len(TEXTS)), "reviews.csv")
    return TokensColumn.fit(raw, TokensKind(length=length, tokenizer=str(folder)))


def of_texts(num_ids: int = len(WORDS) + 1, length: int = LENGTH) -> Features:
    return Features({}, {}, {}, tokens={"review": (num_ids, length)})


def inner(model: keras.Model) -> keras.Model:
    """The part of a model before its head."""
    return keras.Model(model.input, model.get_layer("head").input)


def begun(model: keras.Model) -> Any:
    return begin(model, InitSettings(), inputs=None, preprocessing=None)  # type: ignore[arg-type]


def test_texts_become_the_tokenizer_s_tokens(bert: Path) -> None:
    fitted = column(bert)
    assert fitted.num_ids == len(WORDS) + 1
    ids = tokens_model(fitted)(tf.constant(TEXTS[:, None].astype(str)))
    assert ids.dtype == tf.int32
    np.testing.assert_array_equal(ids, IDS)


def test_what_a_run_keeps_finds_the_tokenizer_again(bert: Path, tmp_path: Path) -> None:
    fitted = column(bert)
    saved = json.loads(json.dumps(fitted.to_json()))
    fields = {key: {"review": value} for key, value in saved.items()}
    again = TokensColumn.from_json("review", fields)
    assert again == fitted
    hub.models.BertTokenizer(vocabulary=[*WORDS[:-1], "!"], lowercase=True).save_to_preset(str(tmp_path))
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    other = TokensColumn.from_json(
        "review",
        {**fields, "kinds": {"review": {"name": "tokens", "tokenizer": {**_facts(saved), "preset": str(tmp_path)}}}},
    )
    with pytest.raises(ConfigError, match="has changed since the run began"):
        tokens_model(other)


def _facts(saved: dict[str, Any]) -> dict[str, Any]:
    return saved["kinds"]["tokenizer"]


@pytest.mark.parametrize("pooling", ["average", "max", "first", "last", "flatten"])
def test_a_text_s_vector_is_made_of_its_tokens(bert: Path, pooling: Any) -> None:
    """Compared with KerasHub's own preprocessing and network."""
    model = pretrained(of_texts(), 3, backbone={"preset": str(bert)}, pooling=pooling)
    origins = begun(model)
    assert {origin.variable for origin in origins.new} == {"head/output/kernel", "head/output/bias"}
    assert all(origin.array for origin in origins.variables if not origin.variable.startswith("head/"))
    assert len(origins.variables) == sum("seed_generator" not in variable.path for variable in model.variables)
    assert origins.describe()["kind"] == "h5"

    preprocess = hub.models.BertTextClassifierPreprocessor(
        hub.models.BertTokenizer(vocabulary=WORDS, lowercase=True), sequence_length=LENGTH
    )
    inputs = preprocess(TEXTS.tolist())
    vectors = np.asarray(hub.models.Backbone.from_preset(str(bert))(inputs)["sequence_output"])
    lengths = (np.array(IDS) > 0).sum(axis=1)
    expected = {
        "average": [vectors[k, :n].mean(axis=0) for k, n in enumerate(lengths)],
        "max": [vectors[k, :n].max(axis=0) for k, n in enumerate(lengths)],
        "first": vectors[:, 0],
        "last": [vectors[k, n - 1] for k, n in enumerate(lengths)],
        "flatten": vectors.reshape(len(TEXTS), -1),
    }
    result = inner(model)({"review": np.array(IDS, np.int32)})
    np.testing.assert_allclose(result, np.array(expected[pooling]), rtol=1e-4, atol=1e-5)


def test_a_folder_of_hugging_face_is_converted(hugging_face: Path) -> None:
    np.testing.assert_array_equal(tokens_model(column(hugging_face))(tf.constant(TEXTS[:, None].astype(str))), IDS)
    model = pretrained(of_texts(), 1, backbone={"preset": str(hugging_face)}, pooling="first")
    origins = begun(model)
    assert origins.describe() == {"from": str(hugging_face), "kind": "converted", "copied": 21, "new": 2, "unused": 0}
    arrays = pytest.importorskip("safetensors.numpy").load_file(hugging_face / "model.safetensors")
    by_path = {variable.path: variable.numpy() for variable in model.variables}
    np.testing.assert_array_equal(by_path["token_embedding/embeddings"], arrays["embeddings.word_embeddings.weight"])
    dense = next(value for path, value in by_path.items() if "feedforward_intermediate_dense/kernel" in path)
    np.testing.assert_array_equal(dense, arrays["encoder.layer.0.intermediate.dense.weight"].T)


def test_a_vision_transformer_of_hugging_face_scales_its_images(tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    network = hub.models.ViTBackbone((8, 8, 3), 4, 1, 2, 4, 6)
    network.save_to_preset(str(tmp_path))
    scale, offset = [1 / 128, 1 / 100, 1 / 64], [-1.0, 0.0, 0.5]
    hub.layers.ViTImageConverter(image_size=(8, 8), scale=scale, offset=offset).save_to_preset(str(tmp_path))
    images = Features({}, {}, {"image": (8, 8, 3)})
    model = pretrained(images, 2, backbone={"preset": str(tmp_path), "cut": "vit_encoder"}, pooling="flatten")
    assert begun(model).copied
    pixels = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 3)).astype("float32")
    expected = network(pixels * 255 * scale + offset)
    np.testing.assert_allclose(inner(model)(pixels), np.reshape(expected, (2, -1)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match=r"needs images \(8, 8, 3\)"):
        pretrained(Features({}, {}, {"image": (9, 9, 3)}), 2, backbone={"preset": str(tmp_path)})


def test_a_residual_network_of_timm_is_converted(tmp_path: Path) -> None:
    """Its names and shapes are those that timm gives them; batch normalization has no place for a step count."""
    images = {"input_size": [3, 32, 32], "mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0], "interpolation": "bicubic"}
    config = {"architecture": "resnet18", "num_classes": 0, "pretrained_cfg": images}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), "bn1": (64,)}
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name, before = f"layer{stage}.{block}", width if block or stage == 1 else width // 2
            shapes |= {f"{name}.conv1.weight": (width, before, 3, 3), f"{name}.bn1": (width,)}
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3), f"{name}.bn2": (width,)}
            if before != width:
                shapes |= {f"{name}.downsample.0.weight": (width, before, 1, 1), f"{name}.downsample.1": (width,)}
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        parts = [name] if name.endswith("weight") else [f"{name}.{part}" for part in ("weight", "bias", "running_mean")]
        arrays |= {part: random.normal(0, 0.05, shape).astype("float32") for part in parts}
        if len(parts) > 1:
            arrays[f"{name}.running_var"] = np.ones(shape, np.float32)
    pytest.importorskip("safetensors.numpy").save_file(arrays, tmp_path / "model.safetensors")
    model = pretrained(Features({}, {}, {"image": (32, 32, 3)}), 2, backbone={"preset": str(tmp_path)})
    origins = begun(model)
    assert (len(origins.copied), len(origins.new)) == (len(arrays), 2)
    scaled = keras.Model(model.input, model.get_layer("scale").output)
    np.testing.assert_allclose(scaled(np.ones((1, 32, 32, 3), np.float32))[0, 0, 0], [1.0, 3.0, 1.0], rtol=1e-5)
    first = next(variable for variable in model.variables if tuple(variable.shape) == (7, 7, 3, 64))
    np.testing.assert_array_equal(first, arrays["conv1.weight"].transpose(2, 3, 1, 0))


def test_no_token_s_vector_is_taken_for_padding() -> None:
    vectors = np.array([[[-5.0], [-7.0], [9.0]]], np.float32)
    mask = np.array([[True, True, False]])
    values = {how: TokenPooling(how)(vectors, mask).numpy().item() for how in ("average", "max", "first", "last")}
    assert values == {"average": -6.0, "max": -5.0, "first": -5.0, "last": -7.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_ids": 99}, "the ids of column 'review' aren't those of the preset's tokenizer. Set data.text="),
        ({"length": 13}, "takes 12 tokens. Received: 13"),
        ({"backbone": {"application": "mobilenet_v2"}}, "needs images, or one text column with a tokenizer"),
        ({"backbone": {"preset": "nowhere"}}, "no such folder, and no preset of KerasHub. Received: 'nowhere'"),
        ({"backbone": {"preset": "bert_tiny_en_uncase"}}, "Did you mean 'bert_tiny_en_uncased'?"),
        ({"cut": "transformer_layer_9"}, "Did you mean 'transformer_layer_1'?"),
        ({"num_layer": 3}, "Did you mean 'num_layers'?"),
        ({"cut": "pooled_dense"}, "model.backbone.cut: must be a layer with a vector for each token"),
        ({"vocabulary_size": 9}, "has 10 tokens, and its network 9"),
    ],
)
def test_wrong_parameters_of_texts(bert: Path, change: dict[str, Any], message: str) -> None:
    features = of_texts(change.pop("num_ids", len(WORDS) + 1), change.pop("length", LENGTH))
    backbone = change.pop("backbone", {"preset": str(bert), **change})
    with pytest.raises(ConfigError, match=re.escape(message)):
        pretrained(features, 1, backbone=backbone)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no config.json"),
        ("{", "can't be read"),
        ("[]", "isn't a mapping"),
        ('{"model_type": "nothing"}', "no converter for huggingface/transformers models"),
        ('{"a": 1}', "can't be used as a preset: Unrecognized format"),
        ('{"registered_name": "os>system", "config": {"command": "touch hacked"}}', "can't be used as a preset"),
        ('{"registered_name": "Dense", "class_name": "Dense", "config": {"units": 3}}', "can't be used as a preset"),
        (
            '{"module": "os", "class_name": "system", "registered_name": "Functional", "config": {}}',
            "can't be used as a preset",
        ),
    ],
)
def test_damaged_and_crafted_presets(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        Preset.of(str(tmp_path), where="model.backbone.preset").backbone(has_weights=True)
    assert not Path("hacked").exists()


def test_without_a_network_connection_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(ResourceError, match="bert_tiny_en_uncased can't be downloaded"):
        Preset.of("bert_tiny_en_uncased", where="model.backbone.preset").backbone(has_weights=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence_length": 5}, "its tokenizer's sequence_length must be None"),
        ({"split": False}, "its tokenizer's split must be True"),
        ({"dtype": "string"}, "its tokenizer gives string, not ids"),
    ],
)
def test_tokenizers_that_give_no_ids_of_texts(
    bert: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(bert, folder)
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    content["config"] |= changes
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        column(folder)
    file.write_text((folder / "config.json").read_text())
    with pytest.raises(ConfigError, match="BertBackbone is no Tokenizer"):
        column(folder)


def test_files_that_are_none(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(bert, folder)
    os.mkfifo(folder / "pipe")
    with pytest.raises(ConfigError, match="pipe isn't a file"):
        Preset.of(str(folder), where="here")
    (folder / "pipe").unlink()
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=r"names a file in another folder, '\.\./outside\.safetensors'"):
        Preset.of(str(folder), where="here")
    with pytest.raises(ConfigError, match="no such folder"):
        Preset.of("x" * 5000, where="here")


def test_bytes_without_a_token_are_left_out(tmp_path: Path) -> None:
    vocabulary = {"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3}
    hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=["a b"]).save_to_preset(str(tmp_path))
    hub.models.GPT2Backbone(4, 1, 1, 2, 2, max_sequence_length=8).save_to_preset(str(tmp_path))
    fitted = column(tmp_path)
    np.testing.assert_array_equal(tokens_model(fitted)(tf.constant([["azb"]])), [[1, 2, 3, 1, 0, 0]])
    model = pretrained(of_texts(5), 1, backbone={"preset": str(tmp_path)}, pooling="last")
    assert len(begun(model).new) == 2


@pytest.mark.parametrize("fields", [{"num_tokens": "10"}, {"num_tokens": 10**13}, {"num_tokens": None}, {"preset": 5}])
def test_edited_facts_of_a_tokenizer(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no tokenizer can have"):
        TokenizerFacts(**{"preset": "bert", "num_tokens": 10, "sha256": "0", **fields})
