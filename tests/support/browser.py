"""Opens a page of this disk in a browser without a window, and prints as JSON what became of it.

``python -m tests.support.browser PAGE WIDTH [PICTURE]``; exits with 3 where the browser's libraries are missing. It is
a program of its own, for a browser wants a process for itself.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MISSING = 3
_HEIGHT = 900
_LOOK = """
(() => {
  const box = element => { const b = element.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; };
  document.querySelectorAll("article").forEach(article => article.style.contentVisibility = "visible");
  const images = [...document.querySelectorAll("img")];
  images.forEach(image => image.loading = "eager");
  const describe = image => ({box: box(image), stored: [image.naturalWidth, image.naturalHeight]});
  return JSON.stringify({
    complete: images.every(image => image.complete),
    title: document.title,
    headings: [...document.querySelectorAll("h2")].map(heading => heading.innerText),
    images: images.map(describe),
    compared: [...document.querySelectorAll(".both")].map(both => ({
      images: [...both.querySelectorAll("img")].map(describe), before: box(both.querySelector(".before")),
    })),
    meters: [...document.querySelectorAll("meter")].map(meter => meter.value),
    width: document.documentElement.scrollWidth, room: document.documentElement.clientWidth,
  });
})()
"""


def look(page: Path, width: int) -> dict[str, Any]:
    """Open a page in a browser; skips the test where this machine lacks it or one of its libraries, and says which.

    Args:
        page: An HTML file.
        width: Of the window in pixels.

    Returns:
        ``title``; ``headings`` of entries; ``images``, each with its ``stored`` size and the ``box`` that it takes
        (left, top, width, height) in pixels; ``compared``, each with two ``images`` and the box of what is ``before``;
        ``meters``; the ``width`` of the whole and the ``room`` for it; ``requests``, all addresses asked for; and the
        ``console``'s lines.
    """
    command = [sys.executable, "-m", __name__, str(page), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode == MISSING:
        pytest.skip(f"no browser on this machine: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(page: Path, width: int, picture: Path | None) -> None:
    """Open a page, wait until all of its images are there, and print what there is."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--no-sandbox --disable-gpu")
    try:
        from PySide6.QtCore import QTimer, QUrl
        from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineProfile, QWebEngineUrlRequestInterceptor
        from PySide6.QtWebEngineWidgets import QWebEngineView
        from PySide6.QtWidgets import QApplication
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    requests: list[str] = []
    console: list[str] = []

    class Recorder(QWebEngineUrlRequestInterceptor):
        def interceptRequest(self, info: Any) -> None:
            requests.append(info.requestUrl().toString())

    class Listener(QWebEnginePage):
        def javaScriptConsoleMessage(self, level: Any, message: str, line: int, source: str) -> None:
            console.append(message)

    application = QApplication([])
    profile, recorder, view = QWebEngineProfile(), Recorder(), QWebEngineView()
    profile.setUrlRequestInterceptor(recorder)
    listener = Listener(profile, view)
    view.setPage(listener)
    view.resize(width, _HEIGHT)

    def ask() -> None:
        listener.runJavaScript(_LOOK, 0, answer)

    def answer(text: str) -> None:
        found = json.loads(text)
        if not found.pop("complete"):
            QTimer.singleShot(100, ask)
            return
        if picture is not None:
            view.grab().save(str(picture))
        print(json.dumps({**found, "requests": requests, "console": console}))
        view.close()
        application.quit()

    listener.loadFinished.connect(lambda loaded: QTimer.singleShot(500, ask) if loaded else application.exit(1))
    view.load(QUrl.fromLocalFile(str(page)))
    view.show()
    sys.exit(application.exec())


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
