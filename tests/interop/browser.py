"""A headless Chromium that signs in to the status page, and the facts of a page that tests ask for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

PHONE, DESK = (360, 740), (1280, 800)
_VIOLATIONS = "window.violations = []; document.addEventListener('securitypolicyviolation', found => window.violations.push(found.violatedDirective + ' ' + found.blockedURI));"
_CONTRASTS = r"""
const numbers = text => (text.match(/[\d.]+/g) || []).map(Number);
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = color => [0.2126, 0.7152, 0.0722].reduce((sum, part, n) => sum + part * linear(color[n] / 255), 0);
const behind = element => {
  for (let at = element; at; at = at.parentElement) {
    const color = numbers(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const found = [];
for (const element of document.body.querySelectorAll('*')) {
  if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) || !element.getClientRects().length) continue;
  const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
  found.push([(a + 0.05) / (b + 0.05), element.textContent.slice(0, 40)]);
}
return found;
"""


class Browser:
    """One browser, new and knowing nothing; a context manager. It takes the test's self-signed certificate."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync", "--no-first-run",
                     "--disable-component-update", "--no-proxy-server", f"--user-data-dir={profile}"):
            options.add_argument(word)
        options.accept_insecure_certs = True
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver: Any = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _VIOLATIONS})

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.driver.quit()

    def sign_in(self, url: str, user: str, password: str) -> None:
        """As a person who answers the browser's question: from then on it sends the password by itself."""
        self.driver.get(url.replace("https://", f"https://{user}:{password}@"))
        self.driver.get(url)

    def look(self, size: tuple[int, int] = DESK, scheme: str = "light", scripts: bool = True) -> None:
        """Be a screen of this many pixels, light or dark, with or without scripts, from the next page on."""
        width, height = size
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not scripts})

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def text(self, selector: str) -> str:
        return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)

    def texts(self, selector: str) -> list[str]:
        return [str(found.text) for found in self.driver.find_elements(By.CSS_SELECTOR, selector)]

    def click(self, words: str) -> None:
        self.driver.find_element(By.LINK_TEXT, words).click()

    def wait(self, what: Callable[[], Any], seconds: float = 15) -> Any:
        """Wait until `what` tells something."""
        until = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < until, self.text("body")
            time.sleep(0.1)
        return found

    def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        return int(self.run("const page = document.scrollingElement; return page.scrollWidth - page.clientWidth"))

    def faint(self) -> list[str]:
        """Texts with less contrast than the 4.5:1 of WCAG 2, 1.4.3."""
        found = self.run(_CONTRASTS)
        assert len(found) > 5
        return [f"{ratio:.2f} {text}" for ratio, text in found if ratio < 4.5]

    def complaints(self) -> list[str]:
        """What the browser said against the page since it was asked last, and what its policy blocked."""
        return [entry["message"] for entry in self.driver.get_log("browser")] + list(self.run("return window.violations") or ())
