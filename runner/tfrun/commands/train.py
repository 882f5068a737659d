"""`tfrun [train] [overrides]`: trains one run in a new folder, or hands over to a sweep or to Hydra's flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict, read_write

from tfrun.commands import hydra_flags, requeued, resume_sweep
from tfrun.commands.command_line import CommandLine, pop_word
from tfrun.commands.inputs import Inputs, compose, first_folder_of_sweep, read_inputs
from tfrun.commands.several_workers import cluster_of, follow, follows, leading, telling_others, words_of
from tfrun.config.compose import Composed, Configs
from tfrun.config.earlier_runs import groups_of_earlier, words_of_earlier
from tfrun.config.plain import read_yaml
from tfrun.config.recorded_sources import subject_of
from tfrun.config.run_words import run_words
from tfrun.errors import ConfigError, ResourceError, TfrunError
from tfrun.files import runs
from tfrun.files.disk import refusals, write_atomically
from tfrun.files.masking import masked
from tfrun.files.provenance.recording import Recording
from tfrun.files.runs import RunFolder


def run(command_line: CommandLine) -> int:
    """Runs the command and returns the exit code."""
    if command_line.flags.multirun:
        return _train_sweep(command_line)
    extended, command_line = pop_word(command_line, "sweep.extend")
    if extended:
        raise ConfigError("sweep.extend: adds jobs, and needs -m")
    if hydra_flags.any_given(command_line.flags):
        return hydra_flags.answer(command_line)
    configs, composed = compose(command_line)
    if composed.cfg.hydra.mode == RunMode.MULTIRUN:  # a file of the group hparams_search may say so
        return _train_sweep(command_line)
    return _train_run(configs, composed, command_line)


def _train_run(configs: Configs, composed: Composed, command_line: CommandLine) -> int:
    """Trains a run in a new folder, or in that of an earlier start of the same job if there is one."""
    words = command_line.words
    with telling_others(composed.config):
        job = requeued.job_of(configs, composed)
        earlier = None if job is None else requeued.folder_of(configs, composed, job=job, words=words)
        begins = earlier is None and not follows(composed.config)  # who follows is sent the first weights
        inputs = read_inputs(composed.config, configs.catalog, overrides=words, begins=begins)
        cluster = cluster_of(inputs.settings)
    if cluster is not None and not cluster.leads:
        is_over = earlier is not None and requeued.is_over(earlier, inputs)
        return 0 if is_over else follow(cluster, inputs, configs.catalog)
    place = inputs.settings.output_root, inputs.settings.name
    folder = runs.claim(*place) if job is None else runs.claim_for_job(*place, job=job)
    with folder.held():
        if folder.config_yaml.is_file():
            return requeued.train_again(
                folder,
                inputs,
                catalog=configs.catalog,
                words=_recorded(words),
                worker_words=words_of("train", command_line),
            )
        return _begin(folder, inputs, configs=configs, composed=composed, command_line=command_line)


def _begin(
    folder: RunFolder, inputs: Inputs, *, configs: Configs, composed: Composed, command_line: CommandLine
) -> int:
    """Trains a run from its first step in a new folder, which this process holds."""
    words, settings = command_line.words, inputs.settings
    from tfrun.load_engine import engine

    try:
        _write_config(folder, replace(composed, config=inputs.config))
        subject = subject_of(settings.provenance, configs.catalog, configs.folders)
        others = leading(
            cluster_of(settings),
            inputs,
            folder,
            catalog=configs.catalog,
            command_line=words_of("train", command_line),
        )
        with others as leader, Recording.start(folder, subject), engine(folder.log) as (experiment, seconds):
            what = run_words(words, model=settings.model.name, folder=folder.path)
            options = experiment.RunOptions(
                overrides=_recorded(words), words=what, import_seconds=seconds, is_held=True, leader=leader
            )
            return experiment.train(settings, folder, catalog=configs.catalog, table=inputs.table, options=options)
    except (KeyboardInterrupt, TfrunError):  # Ctrl-C, another signal that stops a run, or workers that don't meet
        if not folder.run_json.exists():  # while TensorFlow was imported: there is nothing to resume
            folder.discard()
        raise


def _recorded(words: Sequence[str]) -> list[str]:
    """Returns the words of a command line as `run.json` has them: an address without its password."""
    return [masked(word) if word.startswith("hydra.") else word for word in words]


def _train_sweep(command_line: CommandLine) -> int:
    """Trains the jobs of a sweep, in a new folder or in that of the sweep that they extend."""
    extended, command_line = pop_word(command_line, "sweep.extend")
    folder = runs.open_sweep(extended[-1]) if extended else None
    if extended and folder is None:
        raise ConfigError(f"sweep.extend: no sweep is there. Received: {extended[-1]!r}")
    from tfrun.sweep import ledger, multirun

    earlier: list[str] = []
    groups = None
    if folder is not None:
        header, _ = ledger.Ledger(folder.path).read()
        first = first_folder_of_sweep(folder, header)
        if not first.samefile("."):  # relative paths of its jobs that are left would mean other files from now on
            raise ConfigError(
                f"sweep.extend: the sweep began in {first}, and is extended there. Received: {Path.cwd()}"
            )
        earlier, groups = words_of_earlier(read_yaml(folder.path / "multirun.yaml"), header), groups_of_earlier(header)
        command_line = command_line.with_words([*earlier, *command_line.words])
    configs, composed = compose(command_line, RunMode.MULTIRUN, groups=groups)
    job = requeued.job_of(configs, composed)
    if job is None:
        return multirun.run(replace(configs, earlier=tuple(earlier)), composed, extended=folder)
    if folder is not None:
        raise ConfigError("resume: auto can't extend a sweep. Received: sweep.extend and resume=auto")
    run_again = partial(resume_sweep.run_again, command_line, composed, advice=requeued.ANOTHER_COMMAND)
    return multirun.run(configs, composed, start=multirun.StartOfJob(job, run_again))


def _write_config(folder: RunFolder, composed: Composed) -> None:
    """Writes `config.yaml`, and `.hydra/` as Hydra would; discards the folder if the disk refuses."""
    with read_write(composed.cfg.hydra), open_dict(composed.cfg.hydra):
        composed.cfg.hydra.runtime.output_dir = str(folder.path)
    files = {
        "config.yaml": OmegaConf.create(composed.config),
        ".hydra/config.yaml": composed.job,
        ".hydra/hydra.yaml": OmegaConf.masked_copy(composed.cfg, "hydra"),
        ".hydra/overrides.yaml": composed.cfg.hydra.overrides.task,
    }
    try:
        with refusals(folder.path):
            (folder.path / ".hydra").mkdir(exist_ok=True)
        for name, content in files.items():
            text = OmegaConf.to_yaml(content)
            write_atomically(folder.path / name, masked(text) if name == ".hydra/hydra.yaml" else text)
    except ResourceError:
        folder.discard()
        raise
