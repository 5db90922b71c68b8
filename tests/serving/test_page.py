"""The page as a person meets it: in a real browser, against a real service."""

import base64
import io
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import connect

from vizecg.client import Client

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = pytest.mark.xdist_group("browser")  # so that it is started once
PAGE_FILES = ("/", "/page/style.css", "/page/script.js")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Tab:
    """One tab, driven by the browser's own protocol; remembers what it asked for and what it complained of."""

    def __init__(self, socket):
        self._socket, self._last = socket, 0
        self.requests, self.complaints = [], []
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.do(f"{domain}.enable")

    def do(self, method, **params):
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while (told := json.loads(self._socket.recv(timeout=60))).get("id") != self._last:
            self._note(told.get("method"), told.get("params"))
        assert "error" not in told, told
        return told["result"]

    def _note(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])

    def js(self, code):
        result = self.do("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, code):
        end = time.monotonic() + 60
        while not self.js(code):
            assert time.monotonic() < end, f"never: {code}"
            time.sleep(0.05)

    def go(self, url, *, dark=False, width=1200):
        self.requests.clear()
        self.complaints.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do("Emulation.setEmulatedMedia", features=scheme)
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.do("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && !document.getElementById('ready').textContent.includes('…')")

    def choose(self, file, *, into="file"):
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector=f"#{into}")["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
        self.until("!document.body.classList.contains('busy')")

    def key(self, key, code):
        for kind in ("keyDown", "keyUp"):
            self.do("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def text(self, selector="body"):
        return " ".join(self.js(f"document.querySelector({selector!r}).innerText").split())

    def shot(self, path=None):
        height = self.js("document.documentElement.scrollHeight")
        width = self.js("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = base64.b64decode(self.do("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])
        if path is not None:
            Path(path).write_bytes(data)
        return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs a browser: install chromium")
    profile = tmp_path_factory.mktemp("browser")
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            port, _ = wait_for(profile / "DevToolsActivePort").split()
            pages = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False, timeout=30).json()
            address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
            with connect(address, max_size=None, proxy=None, open_timeout=30) as socket:
                yield Tab(socket)
        finally:
            browser.terminate()


def wait_for(path):
    end = time.monotonic() + 60
    while not (path.is_file() and len(path.read_text().split()) == 2):
        assert time.monotonic() < end
        time.sleep(0.05)
    return path.read_text()


@pytest.fixture(scope="module")
def files(tmp_path_factory, page_png):
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "ecg.png").write_bytes(page_png)
    (folder / "letter.png").write_text("Dear doctor")
    Image.new("RGB", (800, 600), "white").save(folder / "blank.png")
    return folder


@pytest.mark.parametrize("path", PAGE_FILES)
def test_its_files_forbid_the_browser_everything_but_themselves(service, path):
    response = httpx.get(service + path, trust_env=False)
    assert response.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)
    assert not re.search(r"https?://|@import|url\(", response.text)
    assert not re.search(r"localStorage|sessionStorage|document\.cookie|indexedDB|innerHTML", response.text)


@BROWSER
def test_a_chosen_picture_gets_the_answer_of_the_service_in_words(tab, service, files, page_png):
    tab.go(service)
    tab.choose(files / "ecg.png")
    with Client(service) as client:
        answer = client.predict(page_png)
    found = ", ".join(label.name for label in answer.labels if label.positive)
    assert tab.text("#decision") == f"The model finds: {found}"
    for label in answer.labels:
        said = f"{label.name} ({label.code}) {100 * label.probability:.0f} %"
        assert said in tab.text("#labels")
    assert f"threshold {100 * answer.labels[0].threshold:.0f} %" in tab.text("#labels")
    assert "not a medical device" in tab.text("#notes")
    assert answer.model.bundle_digest[:16] in tab.text("#model")
    assert json.loads(tab.js("document.getElementById('json').textContent"))["labels"][0]["code"] == "NORM"
    assert tab.complaints == []
    assert {
        request["url"].removeprefix(service) for request in tab.requests if not request["url"].startswith("data:")
    } == {
        *PAGE_FILES,
        "/ready",
        "/v1/explain",
    }


@BROWSER
def test_bars_end_at_the_probability_and_marks_stand_at_the_threshold(tab, service, files, page_png):
    tab.go(service)
    tab.choose(files / "ecg.png")
    with Client(service) as client:
        labels = client.predict(page_png).labels
    measured = tab.js(
        "[...document.querySelectorAll('.track')].map(track => { const whole = track.getBoundingClientRect();"
        " const mark = track.querySelector('.mark').getBoundingClientRect();"
        " return [track.querySelector('.fill').getBoundingClientRect().width / whole.width,"
        " (mark.left + mark.width / 2 - whole.left) / whole.width]; })"
    )
    expected = [(label.probability, label.threshold) for label in labels]
    np.testing.assert_allclose(measured, expected, atol=0.01)


@BROWSER
def test_the_keyboard_is_enough_and_the_evidence_changes_with_the_label(tab, service, files):
    tab.go(service)
    tab.choose(files / "ecg.png")
    assert tab.js("document.activeElement.id") == "decision"  # what a screen reader reads next
    tab.key("Tab", 9)
    before = tab.js("document.getElementById('film').src")
    assert tab.js("document.activeElement.name") == "evidence"
    tab.key("ArrowUp", 38)
    assert tab.js("document.getElementById('film').src") != before
    assert tab.text("#caption").startswith("Evidence for")
    assert tab.js("document.getElementById('picture').alt").endswith(tab.text("#caption") + ".")
    tab.js("document.querySelector('input[value=\"\"]').click()")
    assert tab.js("document.getElementById('film').hidden")


@BROWSER
def test_every_field_has_a_name_and_news_are_announced(tab, service):
    tab.go(service)
    nodes = tab.do("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node.get("ignored") and node.get("name", {}).get("value")
    }
    assert ("heading", "VizECG") in named
    names = " | ".join(name for _, name in named)
    assert "Choose a file" in names
    assert "Take a photograph" in names
    assert tab.js("document.getElementById('key').labels[0].textContent").startswith("Key of this service")
    assert tab.js("document.getElementById('status').getAttribute('aria-live')") == "polite"
    assert tab.js("document.getElementById('problem').getAttribute('role')") == "alert"


@BROWSER
def test_a_problem_is_told_in_words_and_the_next_picture_is_answered(tab, service, files):
    tab.go(service)
    tab.choose(files / "letter.png")
    said = tab.text("#problem")
    assert said.startswith("Unsupported Media Type.")
    assert "The picture must be a PNG, JPEG, TIFF or PDF file" in said
    assert "Export it as PNG, JPEG, TIFF or PDF" in said
    assert tab.js("document.getElementById('result').hidden")
    tab.choose(files / "blank.png", into="camera")
    assert tab.js("document.getElementById('problem').hidden")
    assert tab.text("#decision") == "This picture was not read"
    assert "Not readable:" in tab.text("#findings")
    assert not tab.js("document.getElementById('labels-section').checkVisibility()")


@BROWSER
def test_a_key_is_sent_with_the_picture_and_kept_nowhere(tab, service, files):
    tab.go(service)
    tab.js("document.getElementById('access').open = true; document.getElementById('key').value = 'vk-canary'")
    tab.choose(files / "ecg.png")
    (asked,) = [request for request in tab.requests if request["url"].endswith("/v1/explain")]
    assert asked["headers"]["X-API-Key"] == "vk-canary"
    assert not any("canary" in request["url"] for request in tab.requests)
    assert tab.js("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])") == '[{},{},""]'
    tab.go(service)
    assert tab.js("document.getElementById('key').value") == ""


@BROWSER
@pytest.mark.parametrize(("dark", "width"), [(False, 1200), (True, 1200), (False, 390), (True, 390)])
def test_it_fits_its_screen_by_day_and_by_night(tab, service, files, tmp_path, dark, width):
    tab.go(service, dark=dark, width=width)
    tab.choose(files / "ecg.png")
    assert tab.js("document.documentElement.scrollWidth") <= width
    shown = tab.shot(tmp_path / "page.png")
    assert (np.median(shown) < 70) == dark
    assert (shown > 150).mean() > 0.002
    assert (shown < 90).mean() > 0.002
