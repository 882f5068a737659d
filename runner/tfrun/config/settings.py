"""A checked config as frozen dataclasses, which say what keys exist, and their types and ranges.

The section `data` is in `config.data_settings`.

`config.schema` reads the annotations as source text, so a range such as `Annotated[int, Ge(1)]` is both what mypy
sees and what a config's value is checked against. Keep annotations literal: an alias would not be understood.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from tfrun.config.component_settings import ComponentSettings
from tfrun.config.data_settings import AugmentationSettings, DataSettings, SplitSettings, WindowSettings


@dataclass(frozen=True)
class LoraSettings:
    """The low-rank adaptation of a model's layers.

    Attributes:
        rank: the rank of what a layer learns beside its weights.
        match: a pattern of the paths of the weights to adapt.
        alpha: what is learnt is multiplied by alpha / rank; None is `rank`.
    """

    rank: Annotated[int, Ge(1)]
    match: str = "."
    alpha: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True)
class ModelSettings(ComponentSettings):
    """The model, and how its layers are adapted; None trains their weights."""

    lora: LoraSettings | None = None

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"lora": None if self.lora is None else dataclasses.asdict(self.lora)}


@dataclass(frozen=True)
class MetricSettings(ComponentSettings):
    """A metric, and the model's output that it measures."""

    output: str


@dataclass(frozen=True)
class GroupSettings:
    """An optimizer group: some variables, their optimizer, and when it updates them.

    Attributes:
        name: the optimizer's registered name; None where the group is frozen and names none.
        learning_rate: None is the optimizer's own default.
        params: the optimizer's other parameters.
        rows: whether a step updates only the rows of a table that its batch has read: "auto" where that changes
            nothing but rounding, "lazy" for every optimizer, "dense" never.
        statistics: whether the group's layers run as in inference, without batch statistics and random draws: "auto"
            while the group isn't trained, "frozen" always, "moving" never.
        layer_decay: the learning rate of a layer divided by that of the next one nearer to the output; None is 1.
        where: the path of its keys in the config, for messages; an optimizer for all variables has no groups there.
    """

    match: str
    name: str | None
    learning_rate: float | None
    schedule: ComponentSettings | None
    clip_norm: Annotated[float, Gt(0)] | None
    every: Annotated[int, Ge(1)]
    from_epoch: Annotated[int, Ge(0)]
    until_epoch: Annotated[int, Ge(1)] | None
    frozen: bool
    optional: bool
    params: dict[str, Any]
    rows: Literal["auto", "lazy", "dense"] = "auto"
    statistics: Literal["auto", "frozen", "moving"] = "auto"
    layer_decay: Annotated[float, Gt(0), Le(1)] | None = None
    where: str = "optimizer"

    def to_dict(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "where"}
        return fields | {"schedule": self.schedule and self.schedule.to_dict()}


@dataclass(frozen=True)
class TrainerSection:
    """How long and how a run trains.

    Attributes:
        max_epochs: "auto" follows the number of training rows.
        threads: "auto" follows the work of a step; None is one for each core.
    """

    max_epochs: Annotated[int, Ge(1)] | Literal["auto"] | None
    max_steps: Annotated[int, Ge(1)] | None
    max_seconds: Annotated[float, Gt(0)] | None
    compile: Literal["auto", "xla", "graph", "eager"]
    microbatches: Annotated[int, Ge(1)]
    ema_decay: Annotated[float, Gt(0), Lt(1)] | None
    on_divergence: Literal["stop", "skip", "rollback"]
    threads: Annotated[int, Ge(1)] | Literal["auto"] | None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"]
    deterministic: bool
    profile: tuple[int, int] | None


@dataclass(frozen=True)
class TrainerSettings(TrainerSection):
    """The same with the number of epochs filled in; it is None, too, as long as the data haven't been read."""

    max_epochs: Annotated[int, Ge(1)] | None


@dataclass(frozen=True)
class StrategySettings:
    """The devices. Which keys belong to a strategy beside its name is in `STRATEGY_KEYS`."""

    name: Literal["auto", "cpu", "gpu", "mirrored", "multi_worker", "tpu"]
    devices: list[str] | None = None
    logical_cpus: Annotated[int, Ge(2)] | None = None
    workers: Annotated[int, Ge(2)] | None = None
    meeting_seconds: Annotated[float, Gt(0)] = 120.0
    timeout_seconds: Annotated[float, Gt(0)] = 1800.0
    address: str | None = None

    @property
    def has_workers(self) -> bool:
        """Whether several processes train one run together."""
        return self.name == MULTI_WORKER

    def to_dict(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("name", *STRATEGY_KEYS.get(self.name, ()))}


@dataclass(frozen=True)
class CheckpointSection:
    """When the state is saved, and which epoch's weights are the best.

    Attributes:
        mode: whether a smaller or a greater value is better; None is what the monitored metric says.
    """

    every_epochs: Annotated[int, Ge(1)] | None
    every_steps: Annotated[int, Ge(1)] | None
    every_seconds: Annotated[float, Gt(0)] | None
    keep: Annotated[int, Ge(1)]
    monitor: str
    mode: Literal["min", "max"] | None


@dataclass(frozen=True)
class CheckpointSettings(CheckpointSection):
    """The same with the mode filled in."""

    mode: Literal["min", "max"]


@dataclass(frozen=True)
class LoggerSettings:
    """TensorBoard's event files."""

    name: Literal["tensorboard"]
    every_steps: Annotated[int, Ge(1)] | None
    histograms_every_epochs: Annotated[int, Ge(1)] | None
    graph: bool


@dataclass(frozen=True)
class EarlyStoppingSection:
    """When a run ends because its monitored value no longer improves.

    Attributes:
        mode: whether a smaller or a greater value is better; None is what the monitored metric says.
    """

    monitor: str
    mode: Literal["min", "max"] | None
    patience: Annotated[int, Ge(0)]
    min_delta: Annotated[float, Ge(0)]


@dataclass(frozen=True)
class EarlyStoppingSettings(EarlyStoppingSection):
    """The same with the mode filled in."""

    mode: Literal["min", "max"]


@dataclass(frozen=True)
class InitSettings:
    """Where the model's first weights come from.

    Attributes:
        source: `from` in the config: a run's folder, or a file or folder of weights; None for fresh weights.
        take: of a run, the weights of its best epoch or its last ones.
        map: regular expressions, searched in the names of arrays, and what their matches become; in the config also a
            list of texts `pattern -> replacement`.
        new: patterns of variables that keep their fresh values.
        unused: patterns of arrays that may be left out.
        preprocessing: `same` encodes the rows as the run did whose weights these are, `new` learns it from the rows.
        reads_weights: False for a run that is resumed, whose checkpoint has all weights; no key of the config.
    """

    source: str | None = None
    take: Literal["best", "last"] = "best"
    map: dict[str, str] = dataclasses.field(default_factory=dict)
    new: list[str] = dataclasses.field(default_factory=list)
    unused: list[str] = dataclasses.field(default_factory=list)
    preprocessing: Literal["new", "same"] = "new"
    reads_weights: bool = True

    def to_dict(self) -> dict[str, Any]:
        others = {key: getattr(self, key) for key in INIT_KEYS if key != "from"}
        return {"from": self.source, **others}


@dataclass(frozen=True)
class ProvenanceSettings:
    """The parts of a run's code that are recorded in its folder `provenance/`.

    Attributes:
        patch: whether the changes of files that git has are written down.
        sources: whether the files of plugins and configs that git doesn't have are copied.
    """

    patch: bool = True
    sources: bool = True


@dataclass(frozen=True)
class Settings:
    """A whole config, checked."""

    name: str
    seed: Annotated[int, Ge(0), Le(4294967295)]
    tags: list[str]
    plugins: list[str]
    output_root: str
    data: DataSettings
    model: ModelSettings
    loss: ComponentSettings
    algorithm: ComponentSettings
    metric: dict[str, MetricSettings]
    groups: dict[str, GroupSettings]
    trainer: TrainerSettings
    strategy: StrategySettings
    checkpoint: CheckpointSettings
    logger: LoggerSettings | None
    early_stopping: EarlyStoppingSettings | None
    init: InitSettings = InitSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    resume: Literal["auto"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns plain containers, with the config's keys in the config's order."""
        result: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "groups":
                result["optimizer"] = {"groups": to_plain(value)}
            else:
                result[field.name] = to_plain(value)
        return result


def to_plain(value: Any) -> Any:
    """Returns settings as plain containers."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return {key: to_plain(item) for key, item in value.items()} if isinstance(value, dict) else value


MULTI_WORKER = "multi_worker"  # the strategy of several processes
STRATEGY_KEYS = {  # beside `name`
    "mirrored": ("devices", "logical_cpus"),
    MULTI_WORKER: ("workers", "meeting_seconds", "timeout_seconds"),
    "tpu": ("address",),
}


def field_types(kind: type) -> dict[str, str]:
    """Returns the fields of one of these dataclasses with their annotations as source text, inherited ones left out."""
    return {name: str(text) for name, text in kind.__annotations__.items() if not str(text).startswith("ClassVar")}


SPLIT_KEYS = field_types(SplitSettings)  # of `data.split`
WINDOW_KEYS = field_types(WindowSettings)  # of `data.window`
LORA_KEYS = field_types(LoraSettings)  # of `model.lora`
INIT_KEYS = {  # of `init`
    "from": "str | None",
    **{key: text for key, text in field_types(InitSettings).items() if key not in ("source", "reads_weights")},
}
PROVENANCE_KEYS = field_types(ProvenanceSettings)  # of `provenance`
SHARED_KEYS = {  # beside a component's own
    "data": field_types(DataSettings),
    "model": {"lora": "dict[str, Any] | None"},
    "metric": field_types(MetricSettings),
    "augment": field_types(AugmentationSettings),
}
PLAIN_SECTIONS = {
    "trainer": TrainerSection,
    "strategy": StrategySettings,
    "checkpoint": CheckpointSection,
    "logger": LoggerSettings,
    "early_stopping": EarlyStoppingSection,
}
OPTIONAL_SECTIONS = ("logger", "early_stopping")  # these may be null
OPTIONAL_KEYS = (*OPTIONAL_SECTIONS, "resume")  # these may be left out, which means null
COMPONENT_SECTIONS = {"data": "dataset", "model": "model", "loss": "loss", "algorithm": "algorithm"}  # section -> kind
SECTIONS = (*COMPONENT_SECTIONS, "metric", "optimizer", *PLAIN_SECTIONS)
GLOBAL_GROUPS = ("experiment", "hparams_search", "debug")  # in the order in which they override each other
OTHER_FIELDS = (*SECTIONS, "groups", "init", "provenance")
TOP_LEVEL_KEYS = {key: text for key, text in field_types(Settings).items() if key not in OTHER_FIELDS}
GROUP_KEYS = {  # of an optimizer group, beside its optimizer's own parameters
    key: text
    for key, text in field_types(GroupSettings).items()
    if key not in ("name", "learning_rate", "schedule", "clip_norm", "rows", "params", "where")
}
OPTIMIZER_KEYS = ("learning_rate", "schedule", "clip_norm", "rows")  # at the top of `optimizer`, for every group


def config_keys() -> dict[str, str]:
    """Returns every config key that is not a component's own parameter, by dotted path, with its annotation."""
    sections = {
        **{name: SHARED_KEYS[name] for name in ("data", "model")},
        **{name: field_types(kind) for name, kind in PLAIN_SECTIONS.items()},
    }
    nested = {f"{section}.{key}": text for section, keys in sections.items() for key, text in keys.items()}
    nested |= {f"init.{key}": text for key, text in INIT_KEYS.items()}
    return TOP_LEVEL_KEYS | nested | {f"provenance.{key}": text for key, text in PROVENANCE_KEYS.items()}
