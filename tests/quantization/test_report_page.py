"""report.html: whole, closed, escaped, and needing nothing but itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from sample_report import hostile, sample_report

import bas_edge._require
from bas_edge.errors import MissingExtraError
from bas_edge.quantization import report_tables
from bas_edge.quantization.report import ImageComparison, PrecisionReport
from bas_edge.quantization.report_page import render_page
from bas_edge.quantization.report_words import verdict_text

VOID = {"meta", "br"}


class Page(HTMLParser):
    """The page as a list of elements, its text, and what its tables say."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(markup)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def markup(report: PrecisionReport) -> str:
    return render_page(report)


def test_the_verdict_is_the_heading(markup: str, report: PrecisionReport) -> None:
    page = Page(markup)
    assert "✓ Accepted after 3 of 53 layers were kept in float" in page.text
    assert report.reason in page.text
    assert page.all("h1") == [{"class": "good"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "accepted", "kept": ()}, "Accepted"),
        ({"verdict": "refused"}, "Refused"),
        (
            {"verdict": "refused", "forced": True},
            "Refused, but written all the same: it was forced",
        ),
    ],
)
def test_verdicts(report: PrecisionReport, changes: dict[str, object], words: str) -> None:
    changed = msgspec.structs.replace(report, worst=(), **changes)
    assert verdict_text(changed) == words
    assert words in Page(render_page(changed)).text


def test_it_loads_nothing(markup: str) -> None:
    page = Page(markup)
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.elements}
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "srcset", "action", "style", "data"}
    ]
    assert addresses
    assert all(value.startswith("data:image/jpeg;base64,") for value in addresses)
    without_pictures = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", markup)
    assert "//" not in without_pictures
    assert not re.search(r"@import|url\(", without_pictures)


def test_every_row_of_every_table_is_there(markup: str, report: PrecisionReport) -> None:
    page = Page(markup)
    shown = {tuple(cell.strip() for cell in row if cell.strip()) for row in page.rows}
    tables = [
        report_tables.bound_table(report),
        report_tables.stage_table(report),
        report_tables.method_table(report),
        report_tables.layer_table(report, most=24),
        report_tables.search_table(report),
        report_tables.kept_table(report),
        report_tables.equalized_table(report),
    ]
    for table in tables:
        assert table.rows
        notes = table.columns[-1] == "Note"
        for row in table.rows:
            cells, note = (row[:-1], row[-1]) if notes else (row, "")
            assert tuple(filter(None, cells)) in shown
            assert not note or (note,) in shown
        assert table.caption in page.text
    assert len(page.all("caption")) == len(tables)
    assert all(one["scope"] in {"row", "col"} for one in page.all("th"))
    assert "29 more layers have < 0.1 % together" in page.text


def test_the_facts_beside_the_tables(markup: str, report: PrecisionReport) -> None:
    text = Page(markup).text
    assert report.calibration is not None
    for words in (
        report.calibration.cache,
        report.calibration.sha256,
        report.calibration.source,
        report.command,
        report.notes[0],
        "onnxruntime 1.23.2",
        report.created_by,
        "3.5 MB",
        "3.7 times smaller than float32",
    ):
        assert words in text


def test_figures_are_made_for_reading(markup: str) -> None:
    assert not re.search(r"\d\.\d{5,}", Page(markup).text)


def test_every_drawing_says_what_it_shows(markup: str, report: PrecisionReport) -> None:
    page = Page(markup)
    drawings = page.all("svg")
    assert all(one["role"] == "img" and one["aria-label"] for one in drawings)
    pictures = [one for one in drawings if one["class"] == "picture"]
    gone = [one for one in report.worst if one.path.startswith("gone/")]
    assert len(pictures) == 3 * (len(report.worst) - len(gone))
    assert len(page.all("image")) == len(pictures)
    assert pictures[0]["aria-label"].startswith(Path(report.worst[0].path).name)


def test_an_image_that_is_gone_is_a_grey_box_with_its_path(report: PrecisionReport) -> None:
    gone = msgspec.structs.replace(report.worst[0], path="gone/away.jpg")
    page = Page(render_page(msgspec.structs.replace(report, worst=(gone,))))
    (box,) = [one for one in page.all("div") if one.get("class") == "gone"]
    assert box["role"] == "img"
    assert page.text.count("gone/away.jpg") == 2
    assert page.all("image") == []


@pytest.mark.parametrize(
    "text", ['"><script>alert(1)</script>', "'\"&lt;</style><!--", "{{ 7*7 }}"]
)
def test_text_never_becomes_markup(report: PrecisionReport, text: str) -> None:
    page = Page(render_page(hostile(report, text)))
    assert page.all("script") == []
    assert len(page.all("style")) == 1
    for words in (report.engine, report.worst[0].label, report.worst[0].path, report.command):
        assert words + " ".join(text.split()) in page.text


def test_a_hostile_file_name_stays_inside_its_attribute(tmp_path: Path) -> None:
    report = sample_report(tmp_path, images=1)
    path = tmp_path / "a\" onload='x' <b>&.jpg"
    Path(report.worst[0].path).rename(path)
    moved = msgspec.structs.replace(report.worst[0], path=str(path))
    page = Page(render_page(msgspec.structs.replace(report, worst=(moved,))))
    labels = [one for one in page.all("svg") if one["class"] == "picture"]
    assert all(one["aria-label"].startswith("a\" onload='x' <b>&.jpg") for one in labels)
    assert not any("onload" in one for one in labels)


def test_the_kept_method_is_good_only_where_the_bound_is_held(report: PrecisionReport) -> None:
    flags = report_tables.method_table(report).flags
    assert flags == ("", "", "", "good", "")
    missed = tuple(msgspec.structs.replace(method, held=False) for method in report.methods)
    table = report_tables.method_table(msgspec.structs.replace(report, methods=missed))
    assert table.flags == ("", "", "", "bad", "")


def test_a_stage_beside_nothing_has_no_comparison(report: PrecisionReport) -> None:
    alone = msgspec.structs.replace(report.stages[1], name="fp32", against="", note="")
    changed = msgspec.structs.replace(report, stages=(alone,), worst=())
    (row,) = report_tables.stage_table(changed).rows
    assert row == ("fp32", *["–"] * 8, "13.1 MB", "–", "")
    assert 'class="histogram"' not in render_page(changed)
    compared = msgspec.structs.replace(report, stages=(report.stages[1],), worst=())
    assert 'class="histogram"' in render_page(compared)


def test_the_search_says_how_it_ended(report: PrecisionReport) -> None:
    assert "until the bound was held." in report_tables.search_table(report).caption
    never = msgspec.structs.replace(report, search=report.search[:2])
    assert "; the bound was never held." in report_tables.search_table(never).caption


def test_a_refused_report_says_what_may_help(report: PrecisionReport) -> None:
    bad = report.search[0]
    refused = msgspec.structs.replace(
        report, verdict="refused", checks=bad.checks, search=(), worst=()
    )
    assert "A --search-budget above 0" in Page(render_page(refused)).text
    assert "A --search-budget" not in Page(render_page(report)).text
    plan = msgspec.structs.replace(refused, checks=report.checks, plan_checks=bad.checks)
    assert "A --search-budget" not in Page(render_page(plan)).text


def test_without_a_hash_there_is_no_line_for_it(markup: str, report: PrecisionReport) -> None:
    assert "SHA-256" in markup
    scan = msgspec.structs.replace(report.calibration, sha256="")
    assert "SHA-256" not in render_page(msgspec.structs.replace(report, calibration=scan, worst=()))


def test_one_more_layer_is_singular(report: PrecisionReport) -> None:
    assert report_tables.layer_table(report, most=52).more == "1 more layer has < 0.1 %."
    assert report_tables.layer_table(report, most=53).more == ""


def test_an_empty_report_is_a_page_too() -> None:
    page = Page(render_page(PrecisionReport(engine="birds", precision="fp16", verdict="accepted")))
    assert "Nothing was held to a bound." in page.text
    assert page.rows == []


def test_twelve_pictures_of_noise_stay_under_three_megabytes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (900, 900, 3), np.uint8)).save(tmp_path / "n.png")
    Image.fromarray(random.integers(0, 256, (320, 320, 3), np.uint8)).save(tmp_path / "s.png")
    heat = random.integers(0, 256, 28 * 28, np.uint8).tobytes()
    worst = tuple(
        ImageComparison(
            path=str(tmp_path / name),
            iou=0.5,
            box_reference=(0, 0, 100, 100),
            box=(0, 0, 50, 100),
            label_reference="a",
            label="b",
            heat_reference=heat,
            heat=heat,
            heat_size=(28, 28),
        )
        for name in ["n.png", "s.png"] * 20
    )
    markup = render_page(
        PrecisionReport(engine="e", precision="int8", verdict="accepted", worst=worst)
    )
    assert len(markup.encode()) < 3_000_000
    assert "The first 12 of 40." in Page(markup).text


def test_without_jinja2_the_extra_is_named(
    report: PrecisionReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> object:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(bas_edge._require.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match="jinja2"):
        render_page(report)
