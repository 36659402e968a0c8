"""The report: one file that asks for nothing, answers first, and shows what models wrote as text."""

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.records import HOSTILE, fake_study
from tunebook.check import read_study as read_config
from tunebook.configuration.study import resolved
from tunebook.deployment import release
from tunebook.errors import TunebookError
from tunebook.figures import write_figures
from tunebook.records import write_json
from tunebook.report import render
from tunebook.reporting import typeset
from tunebook.reporting.answers import exchanges, marked
from tunebook.reporting.side_effects import int8_methods, neutral_changes, quantized_methods, side_effects_table
from tunebook.reporting.study_folder import read_study

TEMPLATES = Path(__file__).parents[1] / "report"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A page's ids, links, addresses and open elements."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.addresses, self.open, self.scripts = [], [], [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.scripts += tag == "script"
        assert not any(name.startswith("on") for name in attributes), f"a handler in <{tag}>"
        for name in ("src", "href"):
            if name in attributes:
                (self.links if attributes[name].startswith("#") else self.addresses).append(attributes[name])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def finish(folder):
    """Read a study and draw its figures, as the stages before the report do."""
    study = read_study(folder)
    for experiment in study.experiments:
        write_figures(experiment, folder / "figures" / experiment.name)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return finish(fake_study(tmp_path_factory.mktemp("study"), experiments=3, methods=4))


@pytest.fixture(scope="module")
def html(study):
    return render(study, TEMPLATES)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def section(html, name):
    """The text of one section, tags left out, any white space one space."""
    part = html[html.index(f'<section id="{name}"') :]
    part = re.sub(r"<svg.*?</svg>", "", part[: part.index("</section>")], flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_elements_are_closed_ids_unique_and_links_lead_somewhere(page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_nothing_is_asked_of_a_network(page, html):
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import|\bfetch\(|XMLHttpRequest", html)
    assert page.scripts == 2  # the theme, before anything is drawn; the rest


def test_the_summary_answers_the_three_questions(html):
    said = section(html, "summary")
    assert "Which system gained most? Experiment 0 : finetuning removed 27.3 % " in said
    assert "(3.000 to 2.180 nats a token; accuracy 40.0 % to 90.0 %)" in said
    assert "Which overfits? Experiment 2 , all 4 runs." in said
    assert (
        "Which method for Experiment 2, and at what price? qlora : held-out loss of the text 2.300 (base 3.000)" in said
    )
    assert (
        "Without any training, 2 examples in the prompt bring the base model to 2.500 (2.400 to 2.600 over 3 draws of them): qlora is "
        in said
    )
    assert said.count("better than base") == 6


def test_every_figure_has_words_and_most_a_table(html, study):
    drawings = list(study.folder.rglob("figures/*/*.svg"))
    assert html.count('<svg role="img" aria-label="') == len(drawings)
    assert html.count("The same as a table") >= 3 * len(study.experiments)


def test_losses_have_the_form_of_the_published_table(html):
    said = section(html, "experiment-experiment-0")
    assert (
        "Loss by epoch, in nats a supervised token, end tokens included CSV Epoch Training loss Validation loss 1 2."
        in said
    )


def test_synthetic_data_is_marked_wherever_it_appears(html):
    synthetic, real = section(html, "experiment-experiment-0"), section(html, "experiment-experiment-1")
    for words in (
        "Synthetic data.",
        "toys (synthetic)",
        "Sample rows (synthetic)",
        "held-out row, label positive, synthetic",
    ):
        assert words in synthetic
    assert "ynthetic" not in real
    assert "The data of Experiment 0 are synthetic" in section(html, "summary")


def test_a_large_loss_of_rows_stands_beside_the_data(html):
    assert "Warning: 90 of 700 rows were dropped." in section(html, "experiment-experiment-0")
    assert "Warning:" not in section(html, "experiment-experiment-1")


def test_verdicts_name_rule_and_figures(html):
    said = section(html, "experiment-experiment-2")
    assert "Overfitting. Validation loss is lowest, 2.381 at step 15" in said
    assert "no difference shown" in said
    method = section(html, "how")
    assert "A run overfits when its validation loss reached its minimum" in method
    assert "accuracy Share of held-out rows whose answer is the row's label" in method


def test_provenance_names_ids_hashes_and_versions(html, study):
    said = section(html, "provenance")
    assert "0" * 64 in said
    assert "torch 0.0.0" in said
    assert "scikit-learn 0.0.1" in said  # the baselines'
    assert all(run.spec["identity"] in said for run in study.runs)


def test_what_models_wrote_is_text(html):
    assert "<script>document.title" not in html
    assert "&lt;script&gt;document.title = &#39;owned&#39;&lt;/script&gt;&lt;/td&gt;&lt;/table&gt;" in html
    assert "{{ 7 * 7 }}" in html  # no template of a model's is evaluated
    assert "**bold**" in html
    assert "null\\x00byte" in html
    assert "\x00" not in html
    assert "\U0001f9ea" in html
    assert "x" * 5000 not in html.replace("</", "").replace("\n", "")  # unfolds in two parts
    assert "x" * 3000 in html


def test_the_same_records_give_the_same_page(study, html):
    assert render(study, TEMPLATES) == html


def test_a_page_of_many_runs_stays_small(html, study):
    assert len(html.encode()) < 10e6 * len(study.runs) / 40


def test_a_missing_figure_says_how_to_draw_it(tmp_path):
    folder = fake_study(tmp_path, experiments=1)
    with pytest.raises(TunebookError, match=r"loss\.svg|lengths\.svg.*python -m tunebook figures --study"):
        render(read_study(folder), TEMPLATES)


def test_missing_templates_are_named(study, tmp_path):
    with pytest.raises(TunebookError, match=r"no template report\.html\.j2"):
        render(study, tmp_path)


def test_a_caution_stands_beside_what_was_trained_and_an_assembled_model_is_no_rival(tmp_path):
    folder = fake_study(tmp_path, experiments=2)
    record = json.loads((folder / "study.json").read_text())
    record["experiments"]["experiment-1"]["title"] = "Medical vignettes"
    record["datasets"]["lines"]["caution"] = "No answer is medical advice."
    record["models"]["parts"] = record["models"]["tiny"] | {"encoder_decoder": True}
    record["experiments"]["experiment-0"]["model"] = "parts"
    write_json(folder / "study.json", record)
    shutil.copytree(folder.parent / "models" / "tiny", folder.parent / "models" / "parts")
    html = render(finish(folder), TEMPLATES)
    assert "Caution. No answer is medical advice." in section(html, "experiment-experiment-1").replace(" .", ".")
    assert "Medical vignettes: No answer is medical advice." in section(html, "summary").replace(" :", ":")
    assert "cannot answer untrained; of the models that can, Medical vignettes" in section(html, "summary")


def test_answers_pair_by_prompt_and_name_failures(study):
    pairs, left_out = exchanges(study.experiments[0], study.experiments[0].runs[0])
    assert left_out == 0
    assert [pair.source for pair in pairs] == ["config", "heldout"]
    remarks = dict(pairs[0].before.remarks)
    assert {"repeats itself", "cut at the length limit", "not a label"} <= set(remarks)
    assert pairs[1].after.rest
    assert ("same as before", "quiet") in pairs[1].after.remarks
    assert "\x00" in HOSTILE
    assert "\x00" not in "".join(text for text, _ in pairs[1].after.pieces)


def test_differences_are_marked_on_both_sides(tmp_path):
    folder = fake_study(tmp_path, experiments=2)
    for run, words in (("base", "a red cat sat down here"), ("int8-lora", "a blue cat sat down there")):
        for file in folder.glob(f"runs/experiment-1/{run}/*/samples.json"):
            samples = json.loads(file.read_text())
            samples[0]["completion"] = words
            write_json(file, samples)
    html = render(finish(folder), TEMPLATES)
    assert "a <del>red</del> cat sat down <del>here</del>" in html
    assert "a <ins>blue</ins> cat sat down <ins>there</ins>" in html


def test_an_experiment_stands_beside_the_one_that_it_mends(tmp_path):
    folder = fake_study(tmp_path, experiments=3, methods=1)
    record = json.loads((folder / "study.json").read_text())
    record["experiments"]["experiment-1"]["mends"] = "experiment-2"
    write_json(folder / "study.json", record)
    for file in folder.glob("runs/experiment-1/int8-lora/*/run.json"):
        spec = json.loads(file.read_text())
        spec["training"] |= {"learning_rate": 5e-5, "evals_per_epoch": 4.0}
        write_json(file, spec)
    html = render(finish(folder), TEMPLATES)
    said = section(html, "summary")
    assert "Experiment 2 : validation loss is lowest after epoch 0.75" in said
    assert ", over the first 12 of 30 validation rows; mended in Experiment 1 , held-out loss of the text" in said
    assert "; mended in Experiment 1 , held-out loss of the text 2.280 instead of 2.380 on the same rows." in said
    assert "Kept and scored are the weights of the lowest validation loss" in said
    mender, mended = (section(html, f"experiment-experiment-{number}") for number in (1, 2))
    assert "It mends Experiment 2 : on the same held-out rows its loss of the text differs by −0.1" in mender
    assert "What was changed learning_rate: 0.001 → 0.00005 evals_per_epoch: none → 4 " in mender
    assert "Experiment 1 mends it" in mended
    assert "Kept weights : those of step 20 of 40" in mended
    assert "what was trained after it is thrown away" in mended
    # On other rows the difference cannot be taken row by row
    record["datasets"]["others"] = record["datasets"]["lines"] | {"source": {"type": "path", "path": "others.csv"}}
    record["experiments"]["experiment-2"]["dataset"] = "others"
    write_json(folder / "study.json", record)
    shutil.copytree(folder / "datasets" / "lines", folder / "datasets" / "others")
    shutil.copytree(folder.parent / "datasets" / "lines", folder.parent / "datasets" / "others")
    html = render(read_study(folder), TEMPLATES)
    assert "held-out loss of the text 2.280 against 2.380, on other rows" in section(html, "experiment-experiment-1")


def test_what_was_done_besides_has_a_table_or_a_reason(html):
    labels, texts = section(html, "experiment-experiment-0"), section(html, "experiment-experiment-1")
    assert "A neutral text Not measured:" in labels
    assert "The base model with 2 examples in its prompt was not run: it never learnt to answer." in labels
    assert "A neutral text, and memorisation" in texts
    assert "base 3.000 0 % of 10" in texts
    assert (
        "int8-lora 3.200 +0.200 +0.200 to +0.200 +0.050 +0.050 to +0.050 +0.150 +0.150 to +0.150 60.0 % of 10" in texts
    )
    assert "(40 of 120 rows, int8-lora); the untouched model saw none of them" in texts
    assert (
        "3 draws of these rows bring its loss of the text from 3.000 to 2.500 at the mean, 2.400 to 2.600 by draw"
        in texts
    )
    assert "finetuning (int8-lora) brings it to 2.280, better than 2 examples" in texts
    assert "loss on a neutral text Loss in nats a token on a fixed text of plain paragraphs" in section(html, "how")
    assert "forgot" not in html.lower()


def test_that_int8_losses_depend_on_the_batch_is_said_where_they_stand(study, html):
    assert int8_methods(study.experiments[2]) == ["int8-lora"]
    assert "The losses of int8-lora were computed in batches of " in section(html, "experiment-experiment-2")


def test_both_losses_are_named_and_the_headline_is_that_of_the_text(html):
    said = section(html, "experiment-experiment-1")
    for words in ("loss of the text lower is better 3.00 ", "loss with end tokens lower is better 3.50 "):
        assert words in said
    assert "Held-out loss of the text Change With end tokens" in section(html, "summary")
    assert "leaves these tokens out: it is the headline" in section(html, "how")


def test_settings_of_the_model_that_were_set_aside_are_told(html):
    said = section(html, "experiment-experiment-1")
    assert "They were not used: min_length 12, forced_eos_token_id 2." in said
    assert "How answers were decoded max_new_tokens 20, do_sample false." in said


def test_a_prompt_that_begins_training_rows_says_so(html):
    said = section(html, "experiment-experiment-1")
    assert "Prompt from the config, begins 3 training rows" in said
    assert "held-out row, begins" not in said


def test_the_likeness_of_held_out_rows_to_training_rows_is_told(html):
    said = section(html, "experiment-experiment-1")
    assert (
        "The held-out row most like a training row has similarity 0.71 (1 is the same; rows are near-copies from 0.9 on)"
        in said
    )
    assert "The test rows choose nothing" in section(html, "how")


def test_changes_on_the_neutral_text_are_split_into_quantization_and_training(study, html):
    experiment = study.experiments[2]
    assert quantized_methods(experiment) == ["int8-lora", "qlora"]
    said = {row[0].text: [cell.text for cell in row] for row in side_effects_table(experiment).rows}
    assert said["qlora"][:5] == ["qlora", "3.200", "+0.200", "+0.050", "+0.150"]
    assert said["full"][:5] == ["full", "3.200", "+0.200", "", "+0.200"]
    assert "for int8-lora and qlora the change has two parts" in section(html, "experiment-experiment-2")
    plain = replace(experiment, runs=tuple(run for run in experiment.runs if run.method == "full"))
    assert [column.label for column in side_effects_table(plain).columns][:3] == ["Run", "Loss", "Change"]
    assert len(side_effects_table(plain).columns) == 6
    whole, _, _ = neutral_changes(experiment, experiment.methods["full"])
    assert whole.rows == 6  # paired by paragraph


def test_a_run_that_saw_too_little_to_be_asked_has_no_share(study):
    experiment = study.experiments[1]
    run = experiment.runs[0]
    kept = {name: value for name, value in run.evaluation["metrics"].items() if not name.startswith("verbatim")}
    bare = replace(experiment, runs=(replace(run, evaluation=run.evaluation | {"metrics": kept}),))
    assert [cell.text for cell in side_effects_table(bare).rows[1]][-3:] == ["", "", ""]


def test_a_recommended_method_whose_answers_are_bad_is_recommended_with_that_word(tmp_path):
    folder = fake_study(tmp_path, experiments=2, methods=4)
    for file in folder.glob("runs/experiment-1/qlora/*/samples.json"):
        (first, *rest) = json.loads(file.read_text())
        bad = [first | {"prompt": f"{at}", "completion": "- " * 30, "stopped": False} for at in range(3)]
        write_json(file, [first, *bad, *rest])
    said = section(render(finish(folder), TEMPLATES), "summary")
    assert "price? qlora : held-out" in said
    assert "Mind its answers : 3 of 5 answers repeat themselves and 3 of 5 answers do not end" in said
    assert "; int8-lora, full and lora, whose loss counts as equally good, have no such finding." in said
    assert "; 3 of 5 answers repeat themselves ; 3 of 5 answers do not end" in said


def test_verdicts_on_few_rows_say_their_number(html, tmp_path):
    assert "Better than base, on 30 rows only" in section(html, "experiment-experiment-0")
    html = render(finish(fake_study(tmp_path, experiments=1, rows=120)), TEMPLATES)
    assert "rows only" not in section(html, "experiment-experiment-0")
    assert "Below 100 test rows an interval is a little too narrow" in section(html, "how")


def test_the_rows_that_were_validated_on_are_told(html):
    said = section(html, "experiment-experiment-2")
    assert "validation losses are over the first 12 of 30 validation rows" in said
    assert re.search(
        r"Overfitting\. Validation loss is lowest.{,120} It is over the first 12 of 30 validation rows\.", said
    )


def test_refused_rows_licences_and_rules_stand_where_they_are_read(html):
    said = section(html, "experiment-experiment-1")
    assert "180 rows of 210 after cleaning (2 refused, 3 duplicates and 1 near-duplicate removed; " in said
    assert "2 turns after the last answer of a conversation dropped)" in said
    assert "tiny , causal-lm. Licence: Apache-2.0. Not a model." in said
    assert "120 train, 30 validation, 30 test. The held-out row most like" in said
    assert "from 0.9 on). Licence: CC0-1.0." in said
    assert "its running mean over a step and 5 % of the run's logged steps on either side" in said
    assert "Base and baselines (hollow) against finetuned" in said  # base with examples
    assert "metrics of answers have an interval from 10 answers on" in said
    assert "Losses published in Figure 0, against ours" in section(html, "experiment-experiment-2")


def test_rows_that_ask_the_same_are_shown_once_with_all_references(tmp_path):
    experiment = read_study(fake_study(tmp_path, experiments=1)).experiments[0]
    for run in (experiment.base, *experiment.runs):
        sample = run.samples()[1] | {"completion": "neutral"}
        samples = [sample | {"reference": "positive"}, sample | {"reference": "Neutral"}]
        write_json(run.folder / "samples.json", samples)
    pairs, left_out = exchanges(experiment, experiment.runs[0])
    assert len(pairs) == 1
    assert left_out == 0
    assert pairs[0].references == ("positive", "Neutral")
    assert pairs[0].after.remarks == (("same as before", "quiet"), ("equals the reference", "good"))


def test_marks_are_words_that_are_new():
    pieces = marked("the cat sat on the mat", "the dog lay on the mat")
    assert pieces == (("the ", False), ("dog lay", True), (" on the mat", False))
    assert marked("something else", "all of it is new here") == (("all of it is new here", False),)


def test_a_caption_names_baselines_only_where_there_are_any(study):
    one = study.experiments[1]
    told = {key: value for key, value in one.base.evaluation.items() if key != "few_shot"}
    bare = replace(one, base=replace(one.base, evaluation=told), baselines=())
    said = section(render(replace(study, experiments=(bare,)), TEMPLATES), "experiment-experiment-1")
    assert "Base (hollow) against finetuned" in said
    assert "Base and baselines" not in said


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (typeset.number(0.0123456), "0.0123"),
        (typeset.number(1234567.0), "1\u202f234\u202f567"),
        (typeset.number(9.999), "10.0"),
        (typeset.number(1.5e-7), "1.50\u202f×\u202f10⁻⁷"),
        (typeset.number(-2.0), "−2.00"),
        (typeset.number(None), "–"),
        (typeset.number(float("inf")), "∞"),
        (typeset.plain(5e-4), "0.0005"),
        (typeset.plain(5e-5), "0.00005"),
        (typeset.plain(1.23456), "1.235"),
        (typeset.plain(1200000.0), "1200000"),
        (typeset.exact(0.123456), "0.123456"),
        (typeset.json_text({"a": [3.0, 5e-05, 2], "b": "3.0"}, indent=None), '{"a": [3, 0.00005, 2], "b": "3.0"}'),
        (typeset.fixed(1.23456), "1.235"),
        (typeset.signed(0.5), "+0.500"),
        (typeset.score(0.05), "0.050"),
        (typeset.percent(0.9), "90.0\u202f%"),
        (typeset.count(134_515_008), "135\u202fM"),
        (typeset.size(3_856_396_288), "3.86\u202fGB"),
        (typeset.size(999), "999\u202fB"),
        (typeset.duration(0.42), "0.42\u202fs"),
        (typeset.duration(59.7), "1\u202fmin\u00a000\u202fs"),
        (typeset.duration(7671), "2\u202fh\u00a008\u202fmin"),
        (typeset.listed(["a", "b", "c"]), "a, b and c"),
        (typeset.visible("a\x00b\x1b[0m\ud800"), "a\\x00b\\x1b[0m\ufffd"),
    ],
)
def test_numbers_are_written_for_reading(written, expected):
    assert written == expected


def test_provenance_names_the_version_and_gives_the_config_to_run_again(html):
    said = section(html, "provenance")
    assert f"This report was written by Tunebook {release()}." in said
    assert '"title": "Fake study"' in said


@pytest.mark.parametrize("name", ["config", "paper"])
def test_the_config_in_the_report_gives_the_same_study(tmp_path, name):
    record = resolved(read_config(TEMPLATES.parent / "config" / f"{name}.yaml"))
    copy = tmp_path / "study.yaml"
    copy.write_text(typeset.json_text(record["config"]), encoding="utf-8")  # as the page shows it
    assert resolved(read_config(copy)) == record


def test_the_contents_lead_to_the_parts_of_each_experiment(page, study):
    for experiment in study.experiments:
        for part in ("losses", "verdicts", "metrics", "answers"):
            assert f"{part}-of-{experiment.name}" in page.ids
            assert page.links.count(f"#{part}-of-{experiment.name}") == 2  # the contents, and the head's own anchor
