"""The figures: fixed names, the same bytes each time, text that is text, and nothing heavy to import."""

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

from tests import records
from tests.records import fake_study
from tunebook.errors import TunebookError
from tunebook.figures import write_figures
from tunebook.records import read_json, write_json
from tunebook.reporting import score_figures
from tunebook.reporting.curve_figures import draw_loss, draw_training, wants_log_scale
from tunebook.reporting.figure_names import figure_names
from tunebook.reporting.figure_style import STYLE, save_svg, thin
from tunebook.reporting.figure_words import alternative
from tunebook.reporting.inline_svg import inline
from tunebook.reporting.study_folder import read_experiment, read_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read_study(fake_study(tmp_path_factory.mktemp("study"), experiments=2, methods=3, seeds=2, search=True))


@pytest.fixture(scope="module")
def drawn(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {e.name: write_figures(e, folder / e.name) for e in study.experiments}


def test_names_are_those_that_the_workflow_expects(study, drawn):
    for experiment in study.experiments:
        assert [path.name for path in drawn[experiment.name]] == figure_names(
            experiment.has_labels, bool(experiment.searches)
        )
    assert "confusion.svg" in figure_names(True, False)
    assert "confusion.svg" not in figure_names(False, False)


def test_the_same_records_give_the_same_bytes(study, drawn, tmp_path):
    for path, again in zip(drawn["experiment-0"], write_figures(study.experiments[0], tmp_path), strict=True):
        assert path.read_bytes() == again.read_bytes()
        assert b"<dc:date>" not in path.read_bytes()


def test_figures_are_svg_with_real_text(drawn):
    for paths in drawn.values():
        for path in paths:
            root = ElementTree.parse(path).getroot()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert path.stat().st_size < 120_000
            assert any(element.tag.endswith("}text") for element in root.iter())


@pytest.mark.parametrize("label", [r"$\notacommand$", "$50-$100", r"a_{b}^c \$ $x$", "$"])
def test_a_dollar_sign_is_text(tmp_path, monkeypatch, label):
    monkeypatch.setattr(records, "LABELS", [label, "neutral", "negative"])
    folder = records.fake_study(tmp_path, experiments=1)
    study = read_json(folder / "study.json")
    for experiment in study["experiments"].values():
        experiment["title"] = f"title {label}"
    write_json(folder / "study.json", study)
    paths = write_figures(read_study(folder).experiments[0], tmp_path / "figures")
    confusion = next(path for path in paths if path.name == "confusion.svg")
    assert label in texts(confusion)


def texts(path):
    return {e.text for e in ElementTree.parse(path).iter() if e.tag.endswith("}text")}


def test_both_axes_of_the_loss_are_named(drawn):
    said = texts(drawn["experiment-0"][0])
    assert {"optimizer steps", "epochs", "loss, nats a token", "validation", "checkpoint kept"} <= said
    assert {"int8-lora", "full", "lora"} <= texts(drawn["experiment-1"][0])  # a panel a method


def test_measured_bars_write_their_values(drawn):
    said = texts(drawn["experiment-1"][3])
    assert {"134\u202fM", "2.90\u202fGB", "peak memory in training", "base"} <= said


def test_inlining_gives_ids_of_their_own_and_a_text_for_ears(drawn):
    path = drawn["experiment-0"][0]
    one = inline(path.read_text(), "one", 'losses "fall" & rise')
    two = inline(path.read_text(), "two", "")
    assert 'role="img" aria-label="losses &quot;fall&quot; &amp; rise"' in one
    roots = [ElementTree.fromstring(svg) for svg in (one, two)]
    ids = [{e.attrib["id"] for e in root.iter() if "id" in e.attrib} for root in roots]
    assert ids[0]
    assert not ids[0] & ids[1]
    for root, known in zip(roots, ids, strict=True):
        for element in root.iter():
            for value in (element.attrib.get("href", ""), element.attrib.get("clip-path", "")):
                if "#" in value:
                    assert value.removeprefix("url(").removesuffix(")").removeprefix("#") in known
    assert "<metadata" not in one
    assert "var(--figure-blue, #0072b2)" in one
    assert len(one) < path.stat().st_size


@pytest.mark.parametrize("figure", [0, 1])
def test_curves_say_their_values_where_they_are_drawn(study, drawn, figure):
    run = study.experiments[0].runs[0]
    svg = ElementTree.fromstring(inline(drawn["experiment-0"][figure].read_text(), "one", ""))
    groups = {e.attrib["data-curve"]: e for e in svg.iter() if "data-curve" in e.attrib}
    column = {"validation": ("validation", "loss"), "gradient norm, each step logged": ("train", "grad_norm"),
              "learning rate": ("train", "learning_rate")}  # fmt: skip
    asked = [name for name in column if name in groups]
    assert len(asked) == (1, 2)[figure]
    for name in asked:
        told = groups[name].attrib
        a, b, c, d = map(float, told["data-map"].split())
        path = next(e.attrib["d"] for e in groups[name].iter() if e.tag.endswith("path"))
        points = [tuple(map(float, pair.split())) for pair in re.findall(r"-?[\d.]+ -?[\d.]+", path)]
        split, key = column[name]
        rows = run.history[run.history["split"] == split].set_index("step")
        assert len(points) >= len(rows) / 2
        for x, y in points:
            step = round((x - b) / a)
            assert (x - b) / a == pytest.approx(step, abs=0.05)
            assert (y - d) / c * float(told["data-factor"]) == pytest.approx(rows.loc[step, key], abs=0.01, rel=0.01)
            assert step * float(told["data-epochs"]) == pytest.approx(rows.loc[step, "epoch"], abs=1e-3)


def test_losses_far_apart_stand_on_a_logarithmic_axis_that_says_so(study, tmp_path):
    run = study.experiments[0].runs[0]
    history = run.history.assign(loss=run.history["loss"].where(run.history["step"] > 0, 90.0))
    shown = replace(study.experiments[0], runs=(replace(run, history=history),))
    assert wants_log_scale(shown)
    assert not wants_log_scale(study.experiments[0])
    with plt.rc_context(STYLE):
        save_svg(draw_loss(shown), tmp_path / "loss.svg")
    assert "loss, nats a token, log scale" in texts(tmp_path / "loss.svg")
    assert {"1", "10", "100"} & texts(tmp_path / "loss.svg")
    svg = ElementTree.parse(tmp_path / "loss.svg")
    group = next(e for e in svg.iter() if e.attrib.get("data-curve") == "validation")
    assert group.attrib["data-log"] == "10"
    a, b, c, d = map(float, group.attrib["data-map"].split())
    points = re.findall(r"(-?[\d.]+) (-?[\d.]+)", next(e.attrib["d"] for e in group.iter() if e.tag.endswith("path")))
    losses = history[history["split"] == "validation"].set_index("step")["loss"]
    assert len(points) == len(losses)
    for x, y in points:
        assert 10 ** ((float(y) - d) / c) == pytest.approx(losses.loc[round((float(x) - b) / a)], rel=0.01)


def test_steps_and_rows_are_whole_numbers(tmp_path):
    """A run of a few steps, and a data set of a few rows, tempt a plotter to halves."""
    experiment = read_study(fake_study(tmp_path, experiments=2, steps=3, rows=10)).experiments[1]
    histogram = {"edges": [0, 1, 2, 3], "counts": [1, 0, 2]}
    few = {"rows": 3, "min": 0, "median": 2, "p95": 3, "max": 3, "histogram": histogram}
    shown = replace(experiment, lengths={"max_length": 3, "train": few})
    for draw in (draw_loss, draw_training, score_figures.draw_lengths):
        figure = draw(shown)
        figure.canvas.draw()
        for axis in figure.axes:
            ticks = list(axis.get_xticks()) + (list(axis.get_yticks()) if axis.get_ylabel() == "training rows" else [])
            assert [tick for tick in ticks if tick != int(tick)] == [], axis.get_ylabel()
        plt.close(figure)


def test_no_marker_of_a_metric_covers_another(tmp_path):
    experiment = read_study(fake_study(tmp_path, experiments=2, methods=4)).experiments[1]
    with plt.rc_context(STYLE):
        figure = score_figures.draw_metrics(experiment)
        figure.canvas.draw()
        axis = figure.axes[0]
        marks = [line for line in axis.lines if line.get_marker() != "None" and len(line.get_ydata())]
        places = sorted(axis.transData.transform((0, line.get_ydata()[0]))[1] for line in marks)
        points = [pixels * 72 / figure.dpi for pixels in places]
        gaps = [after - before for before, after in itertools.pairwise(points)]
        assert len(marks) == 6
        assert min(gaps) >= marks[0].get_markersize()
        plt.close(figure)


@pytest.mark.parametrize("kind", [name.removesuffix(".svg") for name in figure_names(True, True)])
def test_alternative_texts_hold_numbers(study, kind):
    said = alternative(kind, study.experiments[1 if kind == "search" else 0])
    assert any(sign.isdigit() for sign in said)
    assert said.endswith(".")
    assert ".." not in said


def test_shades_of_a_confusion_matrix_are_the_same_in_every_theme(study, tmp_path):
    """A colour that a theme replaces would make 10 of 10 lighter than 9 of 10."""
    told = {"confusion": [[10, 0, 0, 0], [0, 10, 0, 0], [0, 0, 9, 1]]}
    shown = replace(
        study.experiments[0],
        runs=tuple(replace(run, evaluation=run.evaluation | told) for run in study.experiments[0].runs),
    )
    with plt.rc_context(STYLE):
        save_svg(score_figures.draw_confusion(shown), tmp_path / "confusion.svg")
    cells = re.findall(r'<path [^>]*style="(fill: [^;"]*)', inline((tmp_path / "confusion.svg").read_text(), "one", ""))
    assert len(set(cells)) > 5
    assert [fill for fill in cells if "var(" in fill] == []


def test_thinning_keeps_about_as_many_points_as_can_be_seen():
    assert len(range(1000)[thin(1000)]) <= 300
    assert len(range(50)[thin(50)]) == 50


def test_an_unknown_experiment_is_answered_with_the_known_ones(study):
    with pytest.raises(TunebookError, match=r"'quotes' is not in .*; it has: experiment-0, experiment-1"):
        read_experiment(study.folder, read_json(study.folder / "study.json"), "quotes")


def test_the_reading_stages_import_no_torch_and_the_names_nothing_at_all():
    heavy = "'torch', 'transformers', 'datasets', 'peft'"
    program = (
        "import sys; import tunebook.reporting.figure_names; light = set(sys.modules)\n"
        "assert not light & {'pandas', 'numpy', 'matplotlib'}\n"
        "import tunebook.tables, tunebook.figures, tunebook.report, tunebook.cards, tunebook.baseline\n"
        f"assert not set(sys.modules) & {{{heavy}}}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_seeds_are_drawn_as_mean_and_range(study, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        score_figures, "_lines_of_metrics", lambda *given: seen.update(values=given[3], whiskers=given[4])
    )
    score_figures.draw_metrics(study.experiments[1])
    losses = [run.text_loss for run in study.experiments[1].methods["full"]]
    assert seen["values"]["full"]["text_loss"] == pytest.approx(sum(losses) / 2)
    assert seen["whiskers"]["full"]["text_loss"] == (min(losses), max(losses))
    assert seen["whiskers"]["base"]["text_loss"] == study.experiments[1].base.intervals["text_loss"]
