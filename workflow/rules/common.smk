# What all rules share: the library, the validated study, where its files lie, and what code a stage computes with.
import re
import shlex
import sys
from pathlib import Path

# In a clone the library stands beside the rules; elsewhere, and for rules read from a repository, it is an installed package.
BESIDE = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
IN_CLONE = (BESIDE / "tunebook").is_dir()
if IN_CLONE:
    sys.path.insert(0, str(BESIDE))
try:
    import tunebook
except ImportError:
    raise WorkflowError(
        f"{BESIDE}: no library of Tunebook beside these rules, and none installed; install it into Snakemake's own "
        "environment (pip install PATH-OF-A-CLONE), or use the Snakefile of a clone"
    ) from None
LIBRARY = Path(tunebook.__file__).resolve().parent.parent
if IN_CLONE and LIBRARY != BESIDE.resolve():
    raise WorkflowError(
        f"two copies of Tunebook in one workflow: the rules in {BESIDE} and the library in {LIBRARY}; use one of them"
    )
if workflow.deployment_settings.deployment_method and not IN_CLONE:
    raise WorkflowError(
        "--software-deployment-method needs the rules of a clone of Tunebook: an environment of its own does not hold "
        f"the library that is installed in {LIBRARY}"
    )

from tunebook.claims import computed, refuse_other_sources
from tunebook.cost.architectures import file_of
from tunebook.cost.job import memory_mb, paces, runtime_minutes
from tunebook.deployment import EXPECTED, TEMPLATES
from tunebook.errors import TunebookError
from tunebook.finetuning.devices import check_without_gpus
from tunebook.reporting.figure_names import figure_names
from tunebook.records import identity_of, read_json
from tunebook.resolve import resolve
from tunebook.source_code import code_identity, text_identity
from tunebook.configuration.study import (
    evaluation_spec,
    experiment_spec,
    fetching_specs,
    resolved,
    runs_of,
    sampling_spec,
    trials_of,
)
from tunebook.configuration.validation import validate

if ":" in str(LIBRARY):
    raise WorkflowError(
        f"{LIBRARY}: Python cannot import from a folder with a colon in its path; move the clone"
    )

try:
    STUDY = validate(config, files=workflow.configfiles)
    SPECS = fetching_specs(STUDY)
    refuse_other_sources(SPECS, Path("results"), STUDY.study)
except TunebookError as error:
    several = len(workflow.overwrite_configfiles) > 1
    hint = "\nSnakemake reads every word after --configfile as a config file: give targets before it"
    raise WorkflowError(f"{error}{hint if several else ''}") from None

RESULTS = f"results/{STUDY.study}"
# What stages read their orders from (see before_the_first_job). It is no input of theirs: each depends on its own identity, a param, so
# that a change to one experiment leaves the others alone.
STUDY_FILE = f"{RESULTS}/study.json"
STUDY_IDENTITY = identity_of(resolved(STUDY))
RUNS = {run.name: run for run in runs_of(STUDY)}
TRIALS = {run.name: run for run in trials_of(STUDY)}
TRAINED = [name for name, run in RUNS.items() if run.trained]
SEARCHED = [name for name, e in STUDY.experiments.items() if e.search]
PACES = paces(
    Path(RESULTS, "rehearsal.csv"),
    {name: run.spec["identity"] for name, run in (RUNS | TRIALS).items()},
)

# What a profile says of `train` holds for the trials of searches too, unless it names them itself.
for told in (
    workflow.resource_settings.overwrite_resources,
    workflow.resource_settings.overwrite_threads,
):
    for name in [name for name in told if re.search(r"(^|_)train$", name)]:
        told.setdefault(f"{name.removesuffix('train')}trial", told[name])

if workflow.resource_settings.resources.get("gpu") == 0:  # --resources gpu=0
    try:
        check_without_gpus({name: RUNS[name].spec["training"] for name in TRAINED})
    except TunebookError as error:
        raise WorkflowError(str(error)) from None


def before_the_first_job():
    """Write study.json and the runs' run.json once Snakemake has locked the folder. `onstart` alone would not do: that of a
    module does not run, and a workflow has only one.
    """

    def both(start):
        def ours_first(log):
            resolve(STUDY, Path(RESULTS))
            if workflow.local_exec:
                # Snakemake 9.27 looks at all waiting jobs again a second after each look, so that looks add up with each
                # job that ends: more than a minute of CPU in a study of 61 jobs. Only the limit of job starts needs this.
                workflow.scheduler.job_rate_limiter = None
            start(log)

        return ours_first

    register = workflow.onstart
    workflow._onstart = both(workflow._onstart)
    workflow.onstart = lambda start: register(both(start))


before_the_first_job()

LABELLED = [
    name for name, e in STUDY.experiments.items() if STUDY.datasets[e.dataset].labels
]
# whose rows have labels, or prompts with answers
WITH_BASELINES = [
    name
    for name, e in STUDY.experiments.items()
    if name in LABELLED or STUDY.datasets[e.dataset].text is None
]


def one_of(names):
    """A wildcard's pattern: these names and no others."""
    return "|".join(map(re.escape, names)) or "(?!)"


def code(stage):
    """What a stage computes: an edit of a constant runs the stage again, an edit of a comment does not."""
    return f"code of {stage}: {code_identity(stage)}"


def templates(*patterns):
    """The text of templates and style sheets."""
    return f"templates: {text_identity(TEMPLATES, *patterns)}"


def tunebook_command(wildcards, resources):
    """How a stage is started: with the library that these rules belong to. Params that come of resources run nothing again:
    where the clone lies changes no result.
    """
    library = shlex.quote(str(LIBRARY))
    path = f"PYTHONPATH={library} " if IN_CLONE else ""
    return f"{path}{EXPECTED}={library} python -m tunebook"


def identity(stage, name):
    """Hash of what a stage is told of a model, a data set or an experiment."""
    return identity_of(computed(SPECS[stage][name]))


def architecture(source):
    """The text of a `random` source's architecture."""
    if source.type != "random":
        return ""
    file = file_of(source.architecture)
    return f"architecture: {text_identity(file.parent, file.name)}"


def local_files(source):
    """The files of a `path` source as input files: where they change, what was made of them is made again."""
    if source.type != "path":
        return []
    path = Path(source.path).expanduser()
    found = path.rglob("*") if path.is_dir() else path.parent.glob(path.name)
    return sorted(str(file) for file in found if file.is_file())


def fetched_for(wildcards, resources):
    """What fetching reads its orders from. Studies share what is fetched: a study's file as a plain param would make another
    one that names the same model or data set fetch it again. Params that come of resources run nothing again.
    """
    return STUDY_FILE


def run_of(wildcards):
    """The run, or trial of a search, that the wildcards of a path name."""
    method = f"{wildcards.experiment}/{wildcards.method}"
    if trial := wildcards.get("trial"):
        return TRIALS[f"{method}/trial-{trial}/seed-{wildcards.seed}"]
    return RUNS[f"{method}/seed-{wildcards.seed}"]


def trials_with(wildcards, seed):
    """The trials of a method's search with one seed, those of every rung."""
    return [
        trial
        for trial in TRIALS.values()
        if (trial.experiment, trial.method, trial.seed)
        == (wildcards.experiment, wildcards.method, seed)
    ]


def specs_of(wildcards):
    """The run's spec; of a searched method, whose values are open, those of its trials with the run's seed."""
    run = run_of(wildcards)
    if not run.spec["searched"]:
        return [run.spec]
    return [trial.spec for trial in trials_with(wildcards, run.seed)]


def first_seed(wildcards):
    """The seed that a search trains its trials with."""
    return STUDY.experiments[wildcards.experiment].seeds[0]


def trial_names(wildcards):
    """What a method's search may train: another search chooses anew."""
    return [trial.name for trial in trials_with(wildcards, first_seed(wildcards))]


def trial_folder(wildcards, trial, seed):
    """The folder of a trial, by its key."""
    return f"{RESULTS}/runs/{wildcards.experiment}/{wildcards.method}/trial-{trial}/seed-{seed}"


def rung_of(wildcards, rung=None):
    """Records of the trials that take part in a rung of a search, the last where none is named. Of a later one they are known
    once the rung before has ended."""
    seed = first_seed(wildcards)
    trials = trials_with(wildcards, seed)
    rung = max(trial.trial.rung for trial in trials) if rung is None else rung
    keys = [trial.trial.key for trial in trials if trial.trial.rung == rung]
    if rung > 0:
        before = checkpoints.select_rung.get(
            experiment=wildcards.experiment, method=wildcards.method, rung=rung - 1
        ).output[0]
        keys = read_json(Path(before))["promoted"]
    return [f"{trial_folder(wildcards, key, seed)}/training.json" for key in keys]


def chosen_trial(wildcards):
    """Folder of the trial that a search has chosen, with this run's seed. It is known once the search has ended."""
    search = checkpoints.select.get(
        experiment=wildcards.experiment, method=wildcards.method
    ).output[0]
    chosen = read_json(Path(search))["chosen"]
    return trial_folder(wildcards, chosen, wildcards.seed)


def run_file(wildcards):
    """The run's spec, which stages read their orders from."""
    return f"{RESULTS}/runs/{run_of(wildcards).name}/run.json"


def model_of(wildcards):
    """Folder of the experiment's pretrained model."""
    return f"results/models/{STUDY.experiments[wildcards.experiment].model}"


def dataset_of(wildcards):
    """Folder of the experiment's prepared data set."""
    return f"{RESULTS}/datasets/{STUDY.experiments[wildcards.experiment].dataset}"


def adapter_of(wildcards):
    """What training published for a run; nothing for the untouched model."""
    run = run_of(wildcards)
    return f"{RESULTS}/runs/{run.name}/adapter" if run.trained else []


def training_record_of(wildcards):
    """The record that stands beside a run's adapter; nothing for the untouched model."""
    run = run_of(wildcards)
    return f"{RESULTS}/runs/{run.name}/training.json" if run.trained else []


def gpus_of(wildcards):
    """GPUs that train a run together."""
    return STUDY.experiments[wildcards.experiment].gpus


def set_resources(rulename):
    """What a profile, or --set-resources, says of a rule."""
    return workflow.resource_settings.overwrite_resources.get(rulename, {})


def memory_is_limited():
    """Whether anything reads mem_mb: a cluster, or `--resources mem_mb=N`. Estimating it for a thousand runs takes long."""
    settings = workflow.resource_settings
    return "mem_mb" in settings.resources or "mem_mb" in (
        settings.default_resources or {}
    )


def memory_of(stage):
    """mem_mb: from the run's estimate, more with each try. On a CPU where a profile says `gpu: 0`, without gres. 0
    where nothing limits it."""

    def memory(wildcards, attempt, rulename):
        if not memory_is_limited():
            return 0
        asked = set_resources(rulename)
        on_cpu = "gres" not in asked and "gpu" in asked and str(asked["gpu"].raw) == "0"
        training = STUDY.experiments[wildcards.experiment].training
        first = max(
            memory_mb(
                stage,
                spec,
                Path("results/models"),
                max_length=training.max_length,
                max_target_length=training.max_target_length,
                gpus=0 if on_cpu else gpus_of(wildcards) if stage == "train" else 1,
            )
            for spec in specs_of(wildcards)
        )
        return first * min(attempt, 4)

    return memory


def runtime_of(stage):
    """Minutes: what the study's rehearsal measured, at most the profile's `max_runtime`; that or the default `runtime` where
    nothing was measured. None where there is neither, as on one's own machine: no limit.
    """

    def runtime(wildcards, attempt, rulename):
        asked = set_resources(rulename)
        defaults = workflow.resource_settings.default_resources or {}
        limit = (
            asked["max_runtime"] if "max_runtime" in asked else defaults.get("runtime")
        )
        if limit is None:
            return None
        longest = limit.evaluate(
            wildcards=wildcards,
            input=None,
            attempt=attempt,
            threads=1,
            rulename=rulename,
            async_run=workflow.async_run,
        ).value
        measured = runtime_minutes(stage, specs_of(wildcards)[0], PACES)
        return longest if measured is None else min(longest, measured * attempt)

    return runtime


def launcher(wildcards, resources):
    """How training is started: as the other stages, or by torchrun with a process for each GPU that the job was given."""
    command = tunebook_command(wildcards, resources)
    # a job that asks for more than `--resources gpu=N` is given N; where a profile asks by `gres`, gpu is 0
    given = gpus_of(wildcards) if resources.get("gres") else resources.gpu
    if given < 2:
        return command
    # without the two dashes torchrun would take --run for an option of its own
    return command.replace(
        "python -m",
        f"torchrun --standalone --nproc-per-node {given} --shutdown-timeout 120 -m --",
    )


def time_limit(resources):
    """Tell training when to stop with a checkpoint, where the job has a limit (`runtime`, minutes): two minutes before it,
    or at half of a short one, for Snakemake's own start and for publishing. Params that come of resources run nothing again.
    """
    runtime = resources.get("runtime")
    return f"--max-seconds {max(60 * runtime - 120, 30 * runtime)}" if runtime else ""


def records_of(experiments):
    """All records that tables, figures and the report of these experiments read."""
    files = []
    for run in RUNS.values():
        if run.experiment in experiments:
            names = ["evaluation.json", "predictions.parquet", "samples.json"]
            names += (
                ["training.json", "history.csv", "validation.parquet"]
                if run.trained
                else []
            )
            files += [f"{RESULTS}/runs/{run.name}/{name}" for name in names]
    for name in experiments:
        experiment = STUDY.experiments[name]
        if name in WITH_BASELINES:
            files += [
                f"{RESULTS}/baselines/{name}.{kind}" for kind in ("json", "parquet")
            ]
        files += [
            f"{RESULTS}/tokens/{name}/lengths.json",
            f"{RESULTS}/datasets/{experiment.dataset}/profile.json",
            f"results/datasets/{experiment.dataset}/provenance.json",
            f"results/models/{experiment.model}/provenance.json",
        ]
        if experiment.search:
            files += [
                f"{RESULTS}/runs/{name}/{method}/search.json"
                for method in experiment.methods
            ]
    return list(dict.fromkeys(files))


reported = report  # at the start of a line, `report` is a keyword


def figures_of(has_labels, searched):
    """The figures of experiments of one kind, which are outputs that a rule states without a wildcard."""
    return [
        reported(
            f"{RESULTS}/figures/{{experiment}}/{name}",
            caption=f"../../report/captions/figure-{name.removesuffix('.svg')}.rst",
            category="{experiment}",
            labels={"figure": name.removesuffix(".svg")},
        )
        for name in figure_names(has_labels=has_labels, searched=searched)
    ]


def experiments_with(has_labels, searched):
    """A wildcard's pattern: the experiments of one kind."""
    return one_of(
        name
        for name in STUDY.experiments
        if (name in LABELLED, name in SEARCHED) == (has_labels, searched)
    )


wildcard_constraints:
    model=one_of(STUDY.models),
    dataset=one_of(STUDY.datasets),
    experiment=one_of(STUDY.experiments),
    method=one_of(["base", *STUDY.methods]),
    seed=r"\d+",
    trial="[0-9a-f]{8}",
    rung=r"\d",
