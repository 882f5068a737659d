"""`tfrun --help` and `tfrun help`: the commands, some examples, the config groups with their options, and the flags."""

from __future__ import annotations

import re

from tfrun.commands.command_line import CommandLine
from tfrun.commands.options import groups_and_kinds, names_in
from tfrun.config.catalog_source import KIND_OF_GROUP
from tfrun.config.compose import Configs, open_configs
from tfrun.config.registry import KINDS
from tfrun.line_breaks import fitted, reading_width

HELP = """tfrun trains TensorFlow and Keras models: name the components, and say on one line what to run.

  tfrun [train] [overrides]         train a model
  tfrun resume RUN [overrides]      resume a run from its last checkpoint, or a sweep; retry=true also runs the jobs
                                    of a sweep again that failed
  tfrun reproduce RUN               say what differs now from what a run was made from, train it again in a new folder,
                                    and compare: exit code 0 for the same results, 9 for others; --check says only what
                                    differs, epochs=1 compares a beginning, code=worktree takes the run's own code,
                                    env=venv installs its packages
  tfrun evaluate RUN [data=...]     print a run's metrics on its test split, or on other data
  tfrun predict RUN data.path=FILE  write a run's predictions for rows, with or without a target; out=FILE.csv, .csv.gz,
                                    .parquet, .arrow or .feather, overwrite=true to replace that file; keep=[id,name] or
                                    keep=all writes columns of the input beside them
  tfrun export RUN format=FORMAT    write a model that takes raw rows, compared with the run's own predictions; formats:
                                    saved_model, keras, litert, onnx; out=FOLDER; with a sweep, ensemble=best3 writes
                                    the mean of its best runs
  tfrun compare PATH...             print the 20 best runs, best first, and means over seeds and folds; top=50 or
                                    top=all, metric=val/mae, take=last, importance=true, --csv, --markdown, --html FILE
  tfrun report RUN [data=...]       write a run as a page, report.html in its folder: errors on its test rows, worst
                                    rows, importance of columns, curves, config; out=FILE.html, overwrite=true
  tfrun prune PATH...               list what the checkpoints of ended runs take without need; yes=true removes it. The
                                    best weights always stay: keep=last (the default) keeps the newest checkpoint, with
                                    which a run can be resumed, keep=best only the best weights
  tfrun check [overrides]           check all that can be checked without training, and the contracts of the components
                                    that are named; parity=true compares compiled steps with steps in Python
  tfrun find lr [overrides]         try growing learning rates for some steps, and suggest one; from=1e-7, to=10,
                                    steps=100, group=NAME, out=FILE.html; no run is written
  tfrun find batch_size [overrides] try batch sizes, and say which is the largest that fits into the memory and how fast
                                    each is; max=4096, memory=4GB
  tfrun list [GROUP]                list the names to choose from
  tfrun show GROUP=NAME             print parameters, types, defaults, documentation and source
  tfrun new FOLDER                  write a project of your own that runs at once: config, components, data, tests

RUN is a folder, or a shorter name: latest, the run or sweep begun last; best, the best run of the latest sweep, and
SWEEP/best; the beginning of an id, such as e49e.

Overrides: group=option chooses, key=value sets, ~key deletes, experiment=NAME loads a whole recipe.

  tfrun model=wide_deep loss=huber
  tfrun data=csv data.path=houses.csv data.target=price trainer.max_epochs=50
  tfrun optimizer=adam optimizer.learning_rate=3e-4
  tfrun init=RUN optimizer.learning_rate=1e-4
  tfrun -m model=wide_deep,mlp seed=1,2,3
  tfrun -m model=wide_deep,mlp data.folds=5
  tensorboard --logdir outputs

Groups:

{groups}

Flags:

  -m, --multirun                    run a sweep: every combination of a=1,2 b=3,4, a job for each fold of data.folds=5
  -c, --cfg job|hydra|all           print the config instead of running it; --resolve, --package KEY
  -cd, --config-dir DIR             a folder with your own YAML files, which win over those of the same name
  -cn, --config-name NAME           another primary config than `config`
  -cp, --config-path DIR            another folder for the primary config
  -i, --info [all|config|defaults|defaults-tree|plugins|searchpath]
  -sc, --shell-completion install=bash|zsh|fish
  --hydra-help, --version

Where to look next: tfrun list, tfrun show loss=huber, tfrun --cfg job, and docs/."""


def run(command_line: CommandLine) -> int:
    """Prints the help and returns the exit code."""
    with open_configs(command_line.settings, command_line.sources) as configs:
        print(help_text(configs, reading_width()))
    return 0


def help_text(configs: Configs, width: int) -> str:
    """Returns the help, with the config groups and their options filled in, at most `width` columns wide."""
    lines = []
    for group in groups_and_kinds(configs):
        names = names_in(configs, group)
        if names and group not in KINDS or group in KIND_OF_GROUP:
            lines.append(f"  {group:<14}  {', '.join(names)}")
    whole_lines = re.sub(r"\n {20,}", " ", HELP)
    return fitted(whole_lines.format(groups="\n".join(lines)), width)
