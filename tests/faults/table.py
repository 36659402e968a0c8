"""Write docs/faults.md: what was done to a study, how often, and what was lost, as the tests themselves told.

    python tests/faults/table.py [--outcomes .faults] [--output docs/faults.md]

Reads `*.xml` (pytest --junitxml) and `kills.json` (kill_loop.py --record) in the folder of outcomes. Exit status 1, and no
table, where a line has no outcome: a renamed test does not drop out of the table unseen.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
KEPT = "weights, history and records as if undisturbed"


@dataclass(frozen=True)
class Line:
    """A line of the table: the fault, what was done, the tests that did it (`file::function`), what a pass shows."""

    fault: str
    tried: str
    tests: tuple[str, ...]
    shown: str = KEPT


RESUME, INTERRUPTIONS, DISK, SLURM, LIMITS = (
    "test_resume::test_",
    "faults.test_interruptions::test_",
    "faults.test_full_disk::test_",
    "slurm.test_slurm::test_",
    "slurm.test_time_limits::test_",
)
LINES = [
    Line("training killed", "`kill -9` after a certain checkpoint", (f"{RESUME}killed_in_the_middle",)),
    Line("SIGTERM", "to training", (f"{RESUME}sigterm_stops_after_the_step_with_a_checkpoint",)),
    Line("time limit", "one that is too short", (f"{RESUME}the_time_limit_stops_with_its_own_status",)),
    Line("a run trained twice at once", "a second process beside the first",
         (f"{RESUME}a_second_process_waits_for_the_first_and_trains_nothing_again",),
         "the second waits, and trains nothing again"),
    Line("Ctrl-C", "SIGINT to Snakemake and all its jobs",
         (f"{INTERRUPTIONS}ctrl_c_stops_with_a_checkpoint_and_the_next_start_goes_on",)),
    Line("damaged checkpoint", "cut short, a flipped bit, no seal",
         (f"{RESUME}a_damaged_checkpoint_is_recognised_and_the_one_before_it_used",)),
    Line("what was changed", "another argument, a changed row, other weights, an edited trainer",
         (f"{RESUME}what_was_changed_never_resumes_stale_weights",), "checkpoints of before are not resumed"),
    Line("no network", "training and scoring, cut off from it",
         ("test_offline::test_training_and_scoring_need_no_network",), "as with one"),
    Line("full disk in training", "a disk with room for two checkpoints",
         (f"{DISK}training_goes_on_from_the_last_whole_checkpoint",)),
    Line("full disk in another stage", "no byte left, then room again",
         (f"{DISK}a_stage_leaves_the_last_good_state", f"{DISK}a_model_that_is_too_large_once_it_is_assembled"),
         "the files of before are as they were, the message says what to do"),
    Line("power cut", "after each rename; what was not flushed is lost",
         ("faults.test_power_cut::test_after_any_rename_of_training",
          "test_storage::test_a_power_cut_after_any_rename_leaves_what_is_published_whole",
          "test_storage::test_a_checkpoint_is_on_the_disk_before_older_ones_go")),
    Line("flipped bit", "one in each published file, each in a seal and in a record",
         ("test_verify::test_one_flipped_bit_in_any_published_file_is_found_and_named",
          "test_storage::test_each_flipped_bit_of_a_seal_is_noticed",
          "test_storage::test_each_flipped_bit_of_a_record_or_its_digest_is_noticed",
          "test_verify::test_a_stage_refuses_to_read_what_is_damaged"),
         "each is noticed, and the file is named"),
    Line("strangers' files", "10,000 seeded configs, data files, templates, wheels, GGUF and Parquet files, in six kinds",
         ("test_fuzz::test_ten_thousand_inputs",), "used or refused with a message, each within ten seconds and 3 GiB"),
    Line("two Snakemakes", "a second one beside the first",
         (f"{INTERRUPTIONS}a_second_snakemake_is_refused",), "the second is refused, the first as if undisturbed"),
    Line("two Snakemakes, forced", "both with `--nolock`",
         (f"{INTERRUPTIONS}two_at_once_that_were_forced_to_do_no_harm",)),
    Line("clock that jumps", "files of next year and of 1970, newest checkpoint the oldest by its time",
         (f"{INTERRUPTIONS}a_clock_that_jumps_does_no_harm",)),
    Line("SLURM: out of memory", "a job killed for its memory",
         (f"{SLURM}a_job_that_was_killed_for_its_memory_succeeds_with_more",), "the retry has more, and succeeds"),
    Line("SLURM: `scancel`", "a training job cancelled by hand",
         (f"{SLURM}a_job_that_was_cancelled_by_hand_runs_again",), "a retry goes on"),
    Line("SLURM: preemption", "a job of a partition of higher priority takes the node",
         (f"{SLURM}a_preempted_job_is_requeued_and_goes_on",), "requeued under the same id, and goes on"),
    Line("SLURM: Snakemake killed", "while two jobs train; then started again",
         (f"{SLURM}jobs_outlive_snakemake_and_nothing_is_trained_twice",), "the jobs end, nothing is trained twice"),
    Line("SLURM: all of these", "in one study",
         (f"{SLURM}the_study_ends_as_a_local_one",), "all artefacts as those of a local run"),
    Line("SLURM: time limits", "a run that needs three allocations, each of two minutes",
         (f"{LIMITS}a_study_of_long_runs_ends_through_several_allocations",
          f"{LIMITS}each_allocation_goes_on_where_the_one_before_it_stopped"),
         "each goes on where the one before it stopped; all artefacts as those of a local run"),
    Line("hub", "no such model, gated, limits, server errors, timeouts, broken and wrong downloads",
         ("test_hub::test_a_fault_is_told_in_one_message_and_leaves_nothing",), "one message, nothing half-written"),
    Line("killed download", "`kill -9` in the middle",
         ("test_hub_cache::test_a_killed_download_goes_on_where_it_was",), "goes on where it was"),
    Line("bad data", "rows, columns, encodings, labels, formats, splits",
         ("test_bad_data::test_bad_data_is_refused_in_words",), "refused, with file, row, reason and what was found"),
]  # fmt: skip


def outcomes(folder: Path) -> dict[str, list[str]]:
    """Test (`file::function`) -> passed, failed or skipped, for each of its cases."""
    found: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(file).iter("testcase"):
            name = f"{case.get('classname').removeprefix('tests.')}::{case.get('name').split('[')[0]}"
            kinds = {part.tag for part in case} & {"failure", "error", "skipped"}
            told = "passed" if not kinds else "skipped" if kinds == {"skipped"} else "failed"
            found.setdefault(name, []).append(told)
    return found


def line_of(line: Line, found: dict[str, list[str]]) -> str:
    """A row of the table. Raises KeyError where one of the line's tests told nothing."""
    cases = [told for test in line.tests for told in found[test]]
    failed, passed = cases.count("failed"), cases.count("passed")
    lost = f"**{failed} of {failed + passed} failed**" if failed else f"nothing: {line.shown}" if passed else "not run"
    return f"| {line.fault} | {line.tried} | {failed + passed} | {lost} |"


def rows_of_calls(stage: str, told: dict) -> list[str]:
    """Rows of the table for a stage of calls.json (every_call.py)."""
    lost = f"**{len(told['wrong'])} wrong**" if told["wrong"] else f"nothing: {KEPT}, no file left over"
    tried = f"of its {told['calls']} opens, writes, flushes and renames: `kill -9`, torn write, EIO, ENOSPC"
    return [
        f"| a call of `{stage}` fails | {tried} | {told['tried']} | {lost} |",
        f"| `{stage}` twice at once | two processes, one output | {told['pairs']} | {lost} |",
    ]


def table(folder: Path) -> str:
    """The page, in Markdown. Raises KeyError, or FileNotFoundError, where outcomes are missing."""
    kills = json.loads((folder / "kills.json").read_text(encoding="utf-8"))
    found = outcomes(folder)
    calls = json.loads((folder / "calls.json").read_text(encoding="utf-8"))
    lost = ", ".join(kills["lost"]) or f"nothing: {KEPT}"
    loop = [
        f"| {target} killed | `kill -9` at a random moment, all in one study | {count} | {lost} |"
        for target, count in sorted(kills["kills"].items())
    ]
    return "\n".join(
        [
            "# What was done to a study, and what was lost",
            "",
            "Written by `make faults-table` from what `make test-faults` and `make test-slurm` told. \"As if undisturbed\" means that",
            "after the last restart weights are equal bit for bit, on a CPU, and so are histories (but for `wall_s`), evaluations,",
            "predictions, samples and tables. Each fault is done to a tiny model; none of this has been tried on a GPU.",
            "",
            "\"Bit for bit\" holds on CPUs with the same instruction set, for any number of cores and threads. With another one (AVX2",
            "instead of AVX-512) sums are taken in another order and weights differ in their last digits: training.json tells under",
            "`cpu_capabilities` which CPUs trained a run, and the report says where a run went on with another one.",
            "",
            "| fault | what was tried | times | lost |",
            "|---|---|---|---|",
            *loop,
            *(row for stage, told in calls.items() for row in rows_of_calls(stage, told)),
            *(line_of(line, found) for line in LINES),
            "",
            f"The random kills had seed {kills['seed']}: `python tests/faults/kill_loop.py --seed {kills['seed']}`.",
            "",
        ]
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outcomes", type=Path, default=ROOT / ".faults")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "faults.md")
    args = parser.parse_args()
    try:
        text = table(args.outcomes)
    except (KeyError, FileNotFoundError) as error:
        print(f"no outcome of {error}: run `make test-faults test-slurm` first", file=sys.stderr)
        return 1
    args.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
