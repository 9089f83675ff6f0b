"""Draws the pictures of README from a run: the loop as SVG, and its health as the report shows it, which takes Chromium."""

import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from playwright.sync_api import sync_playwright

from sgpo_data.execution import ROOT
from sgpo_data.health.health import health
from sgpo_data.loop.rounds import Run, open_run
from sgpo_data.report.flow import HEIGHT, WIDTH, wide
from sgpo_data.report.page import environment, page

PICTURES = Path(__file__).parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE, HIGH = 1180, 900
"""CSS pixels of the report's picture."""


def loop_picture(run: Run) -> str:
    """The loop of a run as an SVG that stands alone, light or dark as the reader has it."""
    style = resources.files("sgpo_data.report").joinpath("report.css").read_text(encoding="utf-8")
    rules = re.findall(r"^:root \{.*?^\}|^@media \(prefers-color-scheme: dark\) \{.*?^\}|^\.flow [^{]+\{[^}]*\}", style, re.MULTILINE | re.DOTALL)
    flow = wide(run.rounds)
    drawn = environment().get_template("flow.svg.jinja").render(flow=flow, name="wide", width=WIDTH, height=HEIGHT)
    head, _, body = drawn.partition(">")
    font = 'svg { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; font-size: 13px; }'
    paper = f'<rect x="-12" y="-12" width="{flow.width + 24}" height="{flow.height + 24}" fill="var(--paper)"/>'
    box = f'viewBox="-12 -12 {flow.width + 24} {flow.height + 24}"'
    head = re.sub(r'viewBox="[^"]*"', f'xmlns="http://www.w3.org/2000/svg" {box}', head)
    return f"{head}>\n<style>\n{font}\n" + "\n".join(rules) + f"\n</style>\n{paper}{body}"


def report_picture(run: Run, out: Path) -> None:
    """The health of a run as its report shows it, as PNG."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed; {out} stays as it is")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        html = Path(folder) / "report.html"
        html.write_text(page(run, health(run)), encoding="utf-8")
        shown = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page(viewport={"width": WIDE, "height": HIGH})
        shown.goto(html.as_uri())
        shown.locator("#health").evaluate("section => section.scrollIntoView()")
        shown.screenshot(path=out)


def main(name: str) -> None:
    """Draws both for a run of the root."""
    run = open_run(name, ROOT)
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "loop.svg").write_text(loop_picture(run), encoding="utf-8")
    report_picture(run, PICTURES / "report.png")


if __name__ == "__main__":
    main(sys.argv[1])
