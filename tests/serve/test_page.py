"""The page in a real headless Chromium, against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Page, chromium
from served import TOKEN, Served, a_camera, served, tiny_engine, until

from bas_edge.video.steady.smoothing import Smoothing

pytestmark = pytest.mark.browser

ODD = "<img src=x onerror=alert(1)>"  # a name is text, and nothing else
PIXELS = """((id) => {
  const shown = document.querySelector(id), copy = document.createElement('canvas');
  Object.assign(copy, { width: shown.width, height: shown.height });
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(shown, 0, 0);
  return Array.from(context.getImageData(0, 0, copy.width, copy.height).data);
})"""
# How wide the box is, by its lower half, where no name is: the glow itself is pure green.
BRIGHT = f"""((id) => {{
  const c = document.querySelector(id), data = {PIXELS}(id), columns = [];
  for (let at = data.length / 2; at < data.length; at += 4)
    if (data[at] > 90 && data[at + 2] > 60) columns.push((at / 4) % c.width);
  return columns.length ? Math.max(...columns) - Math.min(...columns) : 0;
}})"""
SLIDE = """((id, value) => {
  const input = document.getElementById(id);
  input.value = value;
  input.dispatchEvent(new Event('input', { bubbles: true }));
})"""
LARGE = "'#one-canvas'"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    engine = tiny_engine(tmp_path_factory.mktemp("engine"), min_score=0.2)
    cameras = (a_camera("door", period_s=0.04), a_camera(ODD, period_s=0.2))
    with served(
        engine, *cameras, smooth=Smoothing.named("light"), wrong_tokens_per_minute=100
    ) as site:
        yield site


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser: Page, running: Served) -> Iterator[Page]:
    """The page, loaded with the token; nothing may complain or leave the server."""
    browser.forget()
    browser.size(1280, 800)
    browser.open(running.server.url)
    browser.until("document.querySelectorAll('.tile canvas[data-frame]').length === 2")
    yield browser
    running.ask("PATCH", "/api/tuning", body={"threshold": None, "min_score": None})
    assert browser.complaints == []
    here = f"://127.0.0.1:{running.port}/"
    own = (f"http{here}", f"ws{here}", "about:", "blob:")
    assert [url for url in browser.requested if not url.startswith(own)] == []


def enlarge(page: Page) -> None:
    page.evaluate("document.querySelector('.tile a').click()")
    page.until("document.querySelector('#one-canvas').dataset.frame")


def test_frames_move_and_boxes_are_drawn(page: Page) -> None:
    assert page.evaluate("document.querySelector('#link').dataset.link") == "open"
    names = page.evaluate("[...document.querySelectorAll('.tile .name')].map(e => e.textContent)")
    assert names == ["door", ODD]
    assert page.evaluate("document.querySelectorAll('.tile img').length") == 0
    first = page.evaluate(f"{PIXELS}('.tile canvas')")
    frame = page.evaluate("document.querySelector('.tile canvas').dataset.frame")
    page.until(f"document.querySelector('.tile canvas').dataset.frame !== '{frame}'")
    assert page.evaluate(f"{PIXELS}('.tile canvas')") != first
    assert page.until(f"{BRIGHT}('.tile canvas')") > 20
    assert page.until("document.querySelector('.tile .state').dataset.state") == "running"
    page.until("document.querySelector('.tile .latest').textContent.startsWith('green')")


def test_the_token_leaves_the_address_and_survives_a_reload(page: Page, running: Served) -> None:
    assert TOKEN not in page.evaluate("location.href")
    page.evaluate("location.reload()")
    page.until("document.querySelectorAll('.tile canvas[data-frame]').length === 2")
    assert all(TOKEN not in url.partition("#")[0] for url in page.requested)


def test_the_threshold_slider_changes_the_box_and_the_engines_own_is_marked(
    page: Page, running: Served
) -> None:
    enlarge(page)
    page.evaluate(f"{SLIDE}('threshold', 0.02)")
    until(lambda: running.pipeline.localizer.threshold.value == 0.02)
    wide = page.until(f"{BRIGHT}({LARGE}) > 46 && {BRIGHT}({LARGE})")
    page.evaluate(f"{SLIDE}('threshold', 0.98)")
    until(lambda: running.pipeline.localizer.threshold.value == 0.98)
    assert page.until(f"{BRIGHT}({LARGE}) < 46 && {BRIGHT}({LARGE})") < wide
    page.until("!document.querySelector('#controls .own button').hidden")
    assert page.evaluate("document.querySelector('#controls .own').textContent.includes('0.50')")
    assert page.evaluate("document.querySelector('.mark').style.getPropertyValue('--at')") == "0.5"
    page.evaluate("document.querySelector('#controls .own button').click()")
    until(lambda: running.pipeline.localizer.threshold.value == 0.5)
    page.until("document.getElementById('threshold').value === '0.5'")


def test_a_minimum_score_over_all_scores_removes_the_box(page: Page, running: Served) -> None:
    enlarge(page)
    page.until(f"{BRIGHT}({LARGE}) > 20")
    page.evaluate(f"{SLIDE}('min_score', 1)")
    page.until(f"{BRIGHT}({LARGE}) === 0")
    assert running.pipeline.localizer.min_score == 1


def test_the_overlay_slider_changes_the_picture(page: Page, running: Served) -> None:
    enlarge(page)
    red = f"Math.max(...{PIXELS}({LARGE}).filter((_, at) => at % 4 === 0))"
    page.evaluate(f"{SLIDE}('min_score', 1)")  # no box, so all red there is comes from the map
    page.until(f"{red} < 20")
    page.evaluate(f"{SLIDE}('overlay', 100)")
    page.until(f"{red} > 40")
    page.evaluate(f"{SLIDE}('overlay', 0)")
    page.until(f"{red} < 20")


def test_values_are_saved_into_the_engine(page: Page, running: Served) -> None:
    assert page.evaluate("document.getElementById('save').disabled")
    page.evaluate(f"{SLIDE}('threshold', 0.3)")
    page.until("!document.getElementById('save').disabled")
    page.evaluate("document.getElementById('save').click()")
    page.until("document.getElementById('saved').textContent.includes('Saved')")
    assert running.ask("GET", "/api/tuning").json["saved"]["threshold"]["value"] == 0.3
    page.until("document.getElementById('save').disabled")


def test_why_nothing_can_be_saved_is_said_before_somebody_tries(
    browser: Page, tmp_path: Path
) -> None:
    engine = tiny_engine(tmp_path)
    browser.forget()
    with served(engine.with_name("tiny.onnx"), a_camera()) as onnx:
        browser.open(onnx.server.url)
        browser.until("document.getElementById('save-hint')?.textContent.includes('.onnx')")
        browser.evaluate(f"{SLIDE}('threshold', 0.3)")
        until(lambda: onnx.pipeline.localizer.threshold.value == 0.3)
        browser.until("document.getElementById('threshold').value === '0.3'")
        assert browser.evaluate("document.getElementById('save').disabled")


def test_smoothing_and_pause_belong_to_the_stream_that_is_shown(
    page: Page, running: Served
) -> None:
    enlarge(page)
    page.until("document.getElementById('smoothing').value === 'light'")
    page.evaluate(
        "(e => { e.value = 'strong'; e.dispatchEvent(new Event('change')) })"
        "(document.getElementById('smoothing'))"
    )
    until(lambda: running.pipeline.smoothing("door") == Smoothing.named("strong"))
    page.until("document.getElementById('one-pause').textContent === 'Pause'")
    page.evaluate("document.getElementById('one-pause').click()")
    page.until("document.getElementById('one-state').dataset.state === 'paused'")
    stale = "document.querySelector('#one-screen .stale')"
    page.until(f"!{stale}.hidden && {stale}.textContent.startsWith('Paused · last picture')")
    assert page.evaluate("document.querySelector('#one-screen').classList.contains('old')")
    page.evaluate("document.getElementById('one-pause').click()")
    page.until(f"{stale}.hidden")
    running.ask("PATCH", "/api/streams/door/smoothing", body={"preset": "light"})


def test_events_are_listed_newest_first(page: Page, running: Served) -> None:
    running.ask("POST", "/api/streams/door/pause")
    running.ask("POST", "/api/streams/door/resume")
    page.until("document.querySelector('#events li').textContent.includes('door resumed')")
    second = page.evaluate("document.querySelectorAll('#events li')[1].textContent")
    assert "door paused" in second


@pytest.mark.parametrize("width", [360, 390, 860, 1280])
def test_nothing_scrolls_sideways(page: Page, width: int) -> None:
    page.size(width, 844, scale=2 if width < 500 else 1, mobile=width < 500)
    for _ in range(2):
        page.until("document.querySelector('canvas[data-frame]') !== null")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        smallest = (
            "Math.min(...[...document.querySelectorAll('input[type=range], select, #save')]"
            ".filter(e => e.offsetParent).map(e => e.getBoundingClientRect().height))"
        )
        assert page.evaluate(smallest) >= 32, "a finger must hit it"
        enlarge(page)


def test_the_page_can_be_used_without_a_mouse_and_names_its_parts(page: Page) -> None:
    page.evaluate("document.querySelector('.tile a').focus()")
    for kind in ("keyDown", "keyUp"):
        page.command("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r")
    page.until("!document.getElementById('one').hidden")
    for kind in ("keyDown", "keyUp"):
        page.command("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape")
    page.until("document.getElementById('one').hidden")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    named = {"slider", "button", "link", "combobox", "img", "image", "textbox"}
    for node in nodes:
        if not node.get("ignored") and node.get("role", {}).get("value") in named:
            assert node["name"]["value"], node


def test_a_page_without_the_token_shows_nothing_and_asks_for_it(
    browser: Page, running: Served
) -> None:
    browser.forget()
    browser.open(running.server.address)
    browser.until("document.getElementById('ask')?.open")
    assert browser.evaluate("document.querySelectorAll('.tile').length") == 0
    fill = "(t => { document.getElementById('token').value = t })"
    submit = "document.getElementById('ask-form').requestSubmit()"
    browser.evaluate(f"{fill}('a-token-of-somebody-else'); {submit}")
    browser.until("document.getElementById('ask-why').textContent.includes('wrong')")
    browser.until("document.getElementById('ask')?.open")
    assert browser.evaluate("document.querySelectorAll('.tile').length") == 0
    browser.evaluate(f"{fill}('{TOKEN}'); {submit}")
    browser.until("document.querySelectorAll('.tile canvas[data-frame]').length === 2")
    assert not browser.evaluate("document.getElementById('ask').open")


def test_a_lost_server_is_seen_and_found_again(browser: Page, tmp_path: Path) -> None:
    engine = tiny_engine(tmp_path)
    browser.forget()
    with served(engine, a_camera()) as first:
        port = first.port
        browser.open(first.server.url)
        browser.until("document.querySelector('.tile canvas[data-frame]') !== null")
    browser.until("document.querySelector('#link').dataset.link === 'closed'")
    browser.until("document.querySelector('.tile .state').dataset.state === 'lost'")
    stale = "document.querySelector('.tile .stale')"
    assert browser.evaluate(f"{stale}.hidden") is False
    assert "No connection · last picture" in browser.evaluate(f"{stale}.textContent")
    with served(engine, a_camera(), port=port):
        browser.until("document.querySelector('#link').dataset.link === 'open'")
        browser.until(f"{stale}.hidden")
