"""The report in a real browser: silent, self-contained, sortable, printable, readable without scripts."""

import importlib.util
import re
import sys
import time
from pathlib import Path

import pytest
from tests.records import fake_study

from tunebook.figures import write_figures
from tunebook.records import write_text
from tunebook.report import render
from tunebook.reporting.study_folder import read_study

HERE = Path(__file__).parent
TEMPLATES = HERE.parents[1] / "report"


def load(name):
    """A script of this folder as a module."""
    sys.path.insert(0, str(HERE))
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


chromium = load("chromium")
look = load("look")
axe = load("axe")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="no chromium here: apt-get install chromium"),
]


def bind(folder):
    study = read_study(folder)
    for experiment in study.experiments:
        write_figures(experiment, folder / "figures" / experiment.name)
    start = time.monotonic()
    write_text(folder / "report.html", render(study, TEMPLATES))
    return folder / "report.html", time.monotonic() - start


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return bind(fake_study(tmp_path_factory.mktemp("study"), experiments=2, methods=4))[0]


@pytest.fixture(scope="module")
def browser():
    with chromium.Browser() as browser:
        yield browser


def test_the_page_is_silent_asks_for_nothing_and_fits_every_width(report, tmp_path):
    seen = look.look(report, tmp_path)
    assert seen["console"] == []
    assert seen["requests"] == []
    assert set(seen["overflow_px"].values()) == {0}
    assert all(Path(path).stat().st_size > 1000 for path in seen["pictures"])
    pages = re.findall(rb"/Type\s*/Page\b", (tmp_path / "print.pdf").read_bytes())
    assert 3 <= len(pages) <= 40


def test_the_pictures_of_the_whole_page_reach_its_end(tmp_path, browser):
    page = tmp_path / "page.html"
    tall = 2 * chromium.TALLEST_PX + 500
    page.write_text(f"<!DOCTYPE html><body style='margin:0;height:{tall}px;background:#eee'></body>")
    browser.open(page.as_uri(), 390, dark=False)
    assert browser.height() == tall
    seen = look.look(page, tmp_path / "pictures")
    slices = [Path(path) for path in seen["pictures"] if "1280-dark-whole" in path]
    assert [path.name for path in slices] == [f"1280-dark-whole-{number}.png" for number in (1, 2, 3)]
    heights = [int.from_bytes(path.read_bytes()[20:24], "big") for path in slices]  # PNG: IHDR
    assert heights == [chromium.TALLEST_PX, chromium.TALLEST_PX, 500]


def test_a_narrow_screen_is_told_that_a_table_scrolls_and_keeps_its_title_free(report, browser):
    told = "getComputedStyle(document.querySelector('#summary .caption'), '::after').content"
    browser.open(report.as_uri(), 390, dark=False)
    assert "scrolls sideways" in browser.evaluate(told)
    below = "document.querySelector('h1').getBoundingClientRect().top - document.querySelector('.theme').getBoundingClientRect().bottom"
    assert browser.evaluate(below) >= 0
    browser.open(report.as_uri(), 1440, dark=False)
    assert "scrolls" not in browser.evaluate(told)


def test_what_a_model_wrote_does_nothing(report, browser):
    browser.open(report.as_uri(), 1280, dark=False)
    assert browser.evaluate("document.title") == "Fake study"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0


def test_a_click_on_a_head_sorts_and_another_turns_it_round(report, browser):
    browser.open(report.as_uri(), 1280, dark=False)
    column = "[...document.querySelectorAll('#summary tbody tr')].map(row => Number(row.cells[2].dataset.sort))"
    click = "document.querySelectorAll('#summary th button')[2].click()"
    browser.evaluate(click)
    rising = browser.evaluate(column)
    assert rising == sorted(rising)
    assert browser.evaluate("document.querySelectorAll('#summary th')[2].ariaSort") == "ascending"
    browser.evaluate(click)
    assert browser.evaluate(column) == rising[::-1]


def test_a_reader_chooses_the_theme_and_the_page_keeps_it(report, browser):
    paper = "getComputedStyle(document.body).backgroundColor"
    pressed = "document.querySelector('.theme [aria-pressed=true]').textContent"
    click = "[...document.querySelectorAll('.theme button')].find((one) => one.textContent === '{}').click()"
    browser.open(report.as_uri(), 1280, dark=False)
    light = browser.evaluate(paper)
    assert browser.evaluate(pressed) == "auto"
    browser.evaluate(click.format("dark"))
    dark = browser.evaluate(paper)
    assert dark != light
    browser.open(report.as_uri(), 1280, dark=False)
    assert browser.evaluate(paper) == dark  # kept
    assert browser.evaluate(pressed) == "dark"
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(paper) == "rgb(255, 255, 255)"  # paper is white
    browser.send("Emulation.setEmulatedMedia", media="")
    browser.evaluate(click.format("light"))
    browser.open(report.as_uri(), 1280, dark=True)
    assert browser.evaluate(paper) == light
    browser.evaluate(click.format("auto"))
    assert browser.evaluate(paper) == dark
    browser.evaluate("localStorage.clear()")


@pytest.mark.parametrize("width", [390, 1280])
def test_curves_say_their_values_under_the_pointer(report, browser, width):
    browser.open(report.as_uri(), width, dark=False)
    place = browser.evaluate(look.CURVE)
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] + 2, y=place[1] + 1)
    said = browser.evaluate("document.querySelector('.told').textContent").split("\n")
    rows = "[...document.querySelectorAll('.plot.loss table')][0].rows[3].cells"
    step, epoch, loss = (browser.evaluate(f"{rows}[{cell}].textContent") for cell in (1, 2, 4))
    assert said[0] == f"step {step}, epoch {epoch}"
    (told,) = (float(line.split()[-1]) for line in said if line.startswith("validation"))
    assert told == pytest.approx(float(loss), abs=0.006)  # three digits
    assert any(line.startswith("training, running mean") for line in said)
    assert browser.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    assert browser.evaluate("document.querySelector('.told')") is None


def test_everything_stands_without_scripts(report, browser):
    browser.open(report.as_uri(), 1280, dark=False, scripts=False)
    assert browser.evaluate("document.querySelectorAll('#summary tbody tr').length") == 5
    assert browser.evaluate("document.querySelectorAll('th button, .theme').length") == 0
    assert browser.evaluate("document.querySelector('.contents details').open") is True


def test_colours_keep_their_contrast_in_both_themes(report, browser):
    """WCAG 2.1 AA: 4.5 to 1 for text. Colours are measured where the page has them, not in the style sheet."""
    measure = """
      (() => {
        const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = (c) => { const [r, g, b] = parts(c).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = (e) => { for (; e; e = e.parentElement) {
          const c = getComputedStyle(e).backgroundColor; if (!c.startsWith("rgba(0, 0, 0, 0")) return c; } return "rgb(255,255,255)"; };
        const ratio = (e) => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
          return (a + 0.05) / (b + 0.05); };
        const shown = [...document.querySelectorAll("p, a, dd, dt, td, th, h1, h2, h3, h5, small, summary, figcaption, .remark, ins, del")];
        return Math.min(...shown.filter((e) => e.checkVisibility()).map(ratio));
      })()
    """
    for dark in (False, True):
        browser.open(report.as_uri(), 1280, dark)
        assert browser.evaluate(measure) >= 4.5, f"dark={dark}"


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(report, browser, width, dark):
    """axe-core over the whole page, everything unfolded."""
    if axe.script() is None:
        pytest.skip(f"no axe-core {axe.VERSION}: needs npm and its registry")
    browser.open(report.as_uri(), width, dark)
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert axe.findings(browser) == []


def test_two_hundred_runs_are_bound_in_time_and_can_be_used(tmp_path, browser):
    folder = fake_study(tmp_path, experiments=2, methods=4, seeds=40, steps=200)
    report, seconds = bind(folder)
    assert len(read_study(folder).runs) == 200
    assert seconds < 30
    assert report.stat().st_size < 10e6
    browser.open(report.as_uri(), 1280, dark=False)
    assert browser.evaluate("document.querySelectorAll('#summary details tbody tr').length") == 200
    assert browser.evaluate("document.querySelectorAll('#summary > .table tbody tr').length") == 5  # a line a method


def test_a_button_shows_and_hides_the_curve_of_a_method(report, browser):
    browser.open(report.as_uri(), 1280, dark=False)
    button = "document.querySelectorAll('.switches button')[1]"
    drawn = '[...document.querySelectorAll(\'.switches + .canvas [data-curve="full"], .switches + .canvas [data-belongs="full"]\')].map((part) => getComputedStyle(part).display)'
    assert browser.evaluate(f"{button}.textContent") == "full"
    assert browser.evaluate(drawn) == ["inline", "inline"]
    browser.evaluate(f"{button}.click()")
    assert browser.evaluate(drawn) == ["none", "none"]
    assert browser.evaluate(f"{button}.getAttribute('aria-pressed')") == "false"
    browser.evaluate(f"{button}.click()")
    assert browser.evaluate(drawn) == ["inline", "inline"]
