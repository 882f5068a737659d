"""What `tfrun --help`, `tfrun list` and `tfrun show` print."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from pathlib import Path

from omegaconf import OmegaConf

from tfrun.config.catalog import NOT_LITERAL, Component
from tfrun.config.compose import KIND_OF_GROUP, Session
from tfrun.config.registry import KINDS
from tfrun.config.settings import SECTIONS
from tfrun.errors import ConfigError, unknown

HELP = """tfrun trains TensorFlow and Keras models: name the pieces, and say on one line what to run.

  tfrun [train] [overrides]         train
  tfrun resume RUN [overrides]      go on in a run's folder from its last checkpoint, or with a sweep; retry=true
  tfrun evaluate RUN [data=...]     a run's metrics on its test split, or on other data
  tfrun predict RUN data.path=FILE  what it predicts for rows with or without a target; out=FILE.csv or .parquet
  tfrun export RUN format=FORMAT    saved_model, keras, litert or onnx: a model of raw rows, compared with the run's own
  tfrun compare PATH...             runs beside each other, best first, with means over seeds; metric=val/mae,
                                    take=last, --csv, --markdown, --html FILE
  tfrun check [overrides]           verify everything that can be without training, and what the named components
                                    promise; parity=true compares compiled steps with steps in Python
  tfrun list [GROUP]                what there is to choose from
  tfrun show GROUP=NAME             its parameters, types, defaults, docs and source

Overrides: group=option chooses, key=value sets, ~key deletes, experiment=NAME takes a whole recipe.

  tfrun model=wide_deep loss=huber
  tfrun data=csv data.path=houses.csv data.target=price trainer.max_epochs=50
  tfrun optimizer=adam optimizer.learning_rate=3e-4
  tfrun -m model=wide_deep,mlp seed=1,2,3
  tensorboard --logdir outputs

Groups:

{groups}

Flags:

  -m, --multirun                    a sweep: every combination of a=1,2 b=3,4
  -c, --cfg job|hydra|all           print the config instead of running it; --resolve, --package KEY
  -cd, --config-dir DIR             a folder with your own YAML files, which win over those of the same name
  -cn, --config-name NAME           another primary config than `config`
  -cp, --config-path DIR            another folder for the primary config
  -i, --info [all|config|defaults|defaults-tree|plugins|searchpath]
  -sc, --shell-completion install=bash|zsh|fish
  --hydra-help, --version

Where to look next: tfrun list, tfrun show loss=huber, tfrun --cfg job, and docs/."""


def help_text(hydra: Session) -> str:
    """Returns the help: commands, examples, and the config groups with their options."""
    lines = []
    for group in _groups(hydra):
        names = _names(hydra, group)
        if names and group not in KINDS or group in KIND_OF_GROUP:
            lines.append(
                textwrap.fill(", ".join(names), 100, initial_indent=f"  {group:<16}", subsequent_indent=" " * 18)
            )
    return HELP.format(groups="\n".join(lines))


def list_text(hydra: Session, groups: list[str]) -> str:
    """Returns the names in some groups, or in all of them, each with the first line of its doc."""
    known = _groups(hydra)
    for group in groups:
        if group not in known:
            raise unknown("list", "group", group, known)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    blocks = []
    for group in groups or known:
        names = _names(hydra, group)
        pad = max((len(name) for name in names), default=0) + 2
        lines = [f"  {name:<{pad}}{_summary(hydra, group, name)}".rstrip() for name in names]
        blocks.append("\n".join([group, *(line if len(line) <= width else line[: width - 1] + "…" for line in lines)]))
    return "\n\n".join(blocks)


def show_text(hydra: Session, word: str) -> str:
    """Returns all about one option: a YAML file's text, or a component's doc, parameters, source and YAML."""
    group, equals, name = word.partition("=")
    if not equals:
        raise ConfigError(f"show: needs GROUP=NAME, for example loss=huber. Received: {word!r}")
    if group not in _groups(hydra):
        raise unknown("show", "group", group, _groups(hydra))
    if name not in _names(hydra, group):
        raise unknown(group, "option", name, _names(hydra, group))
    file, component = _file(hydra, group, name), hydra.catalog.find(KIND_OF_GROUP.get(group, group), name)
    if file is not None:
        return f"# {file}\n{file.read_text(encoding='utf-8').rstrip()}"
    if component is not None:
        return _component_text(component)
    node = OmegaConf.create({group: hydra.load(group, name)})
    return f"# {_summary(hydra, group, name)}\n{OmegaConf.to_yaml(node).rstrip()}"


def _component_text(component: Component) -> str:
    doc = re.sub(r"^Args:\n(?:[ \t]+.*\n?|\n)+", "", component.doc, flags=re.MULTILINE).strip()
    lines = [
        f"{component.kind}={component.name}  {component.module}.{component.qualname}",
        component.origin,
        "",
        doc,
        "",
    ]
    for param in component.params:
        default = (
            ""
            if param.required
            else f" = {'(set by the code)' if param.default is NOT_LITERAL else repr(param.default)}"
        )
        lines.append(f"  {param.name}{f': {param.type}' if param.type else ''}{default}")
        lines += textwrap.wrap(param.doc, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    node = {"name": component.name, **component.defaults()}
    places = {"dataset": "data", "metric": f"metric.{component.name}", "schedule": "optimizer.schedule"}
    keys = places.get(component.kind, component.kind).split(".")
    for key in reversed(keys):
        node = {key: node}
    return "\n".join([*lines, "", OmegaConf.to_yaml(OmegaConf.create(node)).rstrip()])


def _groups(hydra: Session) -> list[str]:
    """Returns the config groups and then the kinds of components that are no group, leaving out empty ones."""
    groups = hydra.groups()
    kinds = [kind for kind in KINDS if kind not in KIND_OF_GROUP.values() and hydra.catalog.names(kind)]
    return sorted(groups, key=lambda group: SECTIONS.index(group) if group in SECTIONS else len(SECTIONS)) + kinds


def _names(hydra: Session, group: str) -> list[str]:
    return hydra.options(group) if hydra.is_group(group) else hydra.catalog.names(group)


def _file(hydra: Session, group: str, name: str) -> Path | None:
    return next((file for folder in hydra.folders if (file := folder / group / f"{name}.yaml").is_file()), None)


def _summary(hydra: Session, group: str, name: str) -> str:
    """Returns the first line of a component's doc, or of a YAML file's comment."""
    file, component = _file(hydra, group, name), hydra.catalog.find(KIND_OF_GROUP.get(group, group), name)
    if file is not None:
        comments = re.findall(r"^#\s*([^@\s].*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        return comments[0] if comments else str(file)
    if component is not None:
        return component.summary
    return f"the optimizers that model={name.removeprefix('for_')} asks for"
