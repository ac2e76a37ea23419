"""Chromium without a window, as a person would use it: by labels, buttons and what can be read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from tests.clients.shell import client

PATIENCE_SECONDS = 60
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)


class Browser:
    """One person's browser; `driver` is there for what is not said here."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    @property
    def path(self) -> str:
        """Where it is, without scheme and host."""
        return re.sub(r"^\w+://[^/]*", "", self.driver.current_url)

    @property
    def text(self) -> str:
        """What can be read."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def open(self, url: str) -> None:
        self.driver.get(url)

    def fill(self, label: str, text: str) -> None:
        """Type into the field with a label."""
        found = self.driver.find_element(By.XPATH, f"//label[normalize-space()={label!r}]")
        self.driver.find_element(By.ID, found.get_attribute("for") or "").send_keys(text)

    def fill_field(self, name: str, text: str) -> None:
        """Type into a field of a page of others, by its name."""
        self.driver.find_element(By.NAME, name).send_keys(text)

    def buttons(self, name: str) -> list[WebElement]:
        """The buttons that say `name`."""
        return self.driver.find_elements(By.XPATH, f"//button[normalize-space()={name!r}]")

    def press(self, name: str) -> None:
        """Press the one button, or the first of several, and wait for what comes."""
        button = self.buttons(name)[0]
        button.click()
        self._wait(expected_conditions.staleness_of(button))

    def follow(self, name: str) -> None:
        """Follow a link, by what it says."""
        self.driver.find_element(By.LINK_TEXT, name).click()

    def wait_for(self, words: str) -> None:
        """Wait until something can be read."""
        inside = expected_conditions.text_to_be_present_in_element((By.TAG_NAME, "body"), words)
        self._wait(inside)

    def resize(self, width: int, height: int = 800) -> None:
        """Give the page so many pixels of its own, whatever the window's smallest size is."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def picture(self, file: Path, width: int = 1000, height: int = 800) -> None:
        """Take a picture of the page, for a person to look at."""
        self.resize(width, height)
        self.driver.save_screenshot(str(file))

    def _wait(self, condition: object) -> None:
        try:
            # A page that is just going answers with errors of many kinds: ask again.
            wait = WebDriverWait(
                self.driver, PATIENCE_SECONDS, ignored_exceptions=[WebDriverException]
            )
            wait.until(condition)  # type: ignore[arg-type]
        except TimeoutException:
            raise AssertionError(f"{self.driver.current_url} says:\n{self.text}") from None


@contextmanager
def opened(home: Path, *, dark: bool = False) -> Iterator[Browser]:
    """A browser that nobody has used before."""
    options = ChromeOptions()
    options.binary_location = str(client("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={home}", *(["--force-dark-mode"] if dark else [])):
        options.add_argument(flag)
    service = ChromeService(str(client("chromedriver")))
    driver = Chrome(options=options, service=service)
    driver.set_page_load_timeout(PATIENCE_SECONDS)
    try:
        yield Browser(driver)
    finally:
        driver.quit()
