#!/usr/bin/env python3
"""How long pages of `leaktrack report --format html` take to open in Chromium.

usage: open_page.py TIMES PAGE...
Prints, per page, the least, the median and the most milliseconds from the start of the navigation until the answer
is shown and until the last section is drawn. Needs chromium and chromium-driver.
"""
import json
import pathlib
import re
import subprocess
import sys
import time
import urllib.request


def main():
    times, pages = int(sys.argv[1]), [pathlib.Path(page).resolve() for page in sys.argv[2:]]
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))

    def ask(method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/session{path}", method=method,
            data=None if body is None else json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))["value"]

    options = {"binary": "/usr/bin/chromium",
               "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"]}
    session = "/" + ask("POST", "", {"capabilities": {"alwaysMatch": {
        "browserName": "chrome", "goog:chromeOptions": options}}})["sessionId"]
    script = "const { shown, ready } = document.documentElement.dataset; return [shown ?? null, ready ?? null]"
    found = {page: [] for page in pages}
    try:
        for _ in range(times):
            for page in pages:
                ask("POST", session + "/url", {"url": page.as_uri()})
                shown, ready = None, None
                while ready is None:
                    shown, ready = ask("POST", session + "/execute/sync", {"script": script, "args": []})
                    time.sleep(0.05)
                found[page].append((int(shown), int(ready)))
    finally:
        ask("DELETE", session)
        driver.terminate()
    for page, opened in found.items():
        for name, values in zip(("shown", "drawn"), zip(*opened)):
            values = sorted(values)
            print(f"{page.name}: {name} after {values[0]} / {values[len(values) // 2]} / {values[-1]} ms")


main()
