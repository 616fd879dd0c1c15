"""The report's page in a real browser, opened from disk: pictures load, nothing overflows, the view draws."""

import io
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facet import page, provenance, report
from facet.paths import REPORTS

pytestmark = pytest.mark.page
FLAGS = (
    "headless=new no-sandbox use-angle=swiftshader enable-unsafe-swiftshader disable-dev-shm-usage "
    "disable-quic no-first-run disable-background-networking disable-component-update disable-sync "
    "hide-scrollbars"
).split()
# A picture that a quick scroll passed by is still to be asked for: `complete` does not tell.
LOAD_PICTURES = """
    const pictures = [...document.images];
    for (const picture of pictures) picture.loading = "eager";
    Promise.allSettled(pictures.map(picture => picture.decode())).then(arguments[0]);
"""
PHONE, DESKTOP = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window; its console is kept."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium or chromedriver is not installed (Debian: chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as opened:
        opened.set_page_load_timeout(60)
        opened.set_script_timeout(60)
        yield opened


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A small report: a picture, a wide one, a table of many columns, a view to turn."""
    import pandas as pd
    import trimesh

    from facet.viewers import show_mesh

    folder = tmp_path_factory.mktemp("page")
    (folder / "notebooks").mkdir()
    cell = {"cell_type": "markdown", "metadata": {}, "source": "# 10 Title\n\nA `question`?"}
    (folder / "notebooks" / "10_prn.ipynb").write_text(json.dumps({"cells": [cell]}))
    with pytest.MonkeyPatch.context() as patch:
        for module in (report, page):
            patch.setattr(module, "REPORTS", folder / "reports")
        for module in (provenance, page):
            patch.setattr(module, "NOTEBOOKS", folder / "notebooks")
        patch.delenv("FACET_STAGE", raising=False)
        run = report.start("10_prn", profile="smoke")
        run.figure(np.full((40, 60, 3), 90, dtype=np.uint8), "small", caption="A small picture")
        run.figure(np.full((200, 2400, 3), 140, dtype=np.uint8), "wide", caption="A wide picture")
        run.table(pd.DataFrame([{f"a_long_column_{k}": 1.5 * k for k in range(20)}]), "many")
        ball = trimesh.creation.icosphere(subdivisions=3, radius=50.0)
        red = np.full((len(ball.vertices), 3), (220, 40, 30), dtype=np.uint8)
        run.viewer(show_mesh(np.array(ball.vertices), np.array(ball.faces), colors=red), "ball")
        yield page.write("smoke")


def opened(browser, path: Path, size: tuple[int, int]) -> None:
    """Open a page at a size and scroll through it, so that what is loaded lazily is loaded."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False},
    )
    browser.get_log("browser")
    browser.get(path.as_uri())
    place = 0
    while place < browser.execute_script("return document.documentElement.scrollHeight"):  # it grows
        browser.execute_script(f"window.scrollTo(0, {place})")
        place += size[1] // 2
        time.sleep(0.05)
    browser.execute_async_script(LOAD_PICTURES)


def waited(browser, script: str, seconds: float = 30.0):
    """The first true value of a script, or the last false one after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := browser.execute_script(script)) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def faults(browser) -> dict[str, object]:
    """What a reader would stumble over; every value is empty on a good page."""
    log = [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ]
    return {
        "console": [text for text in log if "GPU stall" not in text and "swiftshader" not in text.lower()],
        "pictures that did not load": browser.execute_script(
            "return [...document.images].filter(i => !i.naturalWidth).map(i => i.getAttribute('src'))"
        ),
        "pixels too wide": browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        ),
        "asked from the web": browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => /^http/.test(n))"
        ),
    }


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_generated_page_has_no_faults(browser, index, size):
    opened(browser, index, size)
    assert browser.execute_script("return document.images.length") == 2
    assert not any(faults(browser).values()), faults(browser)


def test_faults_are_found(browser, index, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text('<img src="nothing.png"><div style="width: 3000px">wide</div><script>oops()</script>')
    opened(browser, broken, PHONE)
    found = faults(browser)
    assert found["pictures that did not load"] == ["nothing.png"]
    assert found["pixels too wide"] > 2000
    assert any("oops" in text for text in found["console"])


def test_the_view_draws_its_mesh_in_the_frame(browser, index):
    opened(browser, index, DESKTOP)
    frame = browser.find_element("css selector", "iframe")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    browser.switch_to.frame(frame)
    assert waited(browser, "return document.querySelector('canvas') !== null")
    browser.switch_to.default_content()
    end = time.monotonic() + 30
    red = 0.0
    while red < 0.05 and time.monotonic() < end:
        picture = np.asarray(Image.open(io.BytesIO(frame.screenshot_as_png)).convert("RGB")).astype(int)
        red = float((picture[..., 0] - picture[..., 1:].max(axis=2) > 60).mean())
        time.sleep(0.2)
    assert red > 0.05
    assert not faults(browser)["console"]


@pytest.mark.parametrize("profile", ["small", "full"])
def test_the_stored_page_has_no_faults(browser, profile):
    path = REPORTS / profile / "index.html"
    if not path.is_file():
        pytest.skip(f"no report of profile {profile}")
    opened(browser, path, PHONE)
    assert not any(faults(browser).values()), faults(browser)
