#!/usr/bin/env python3
"""Tries deploy/prometheus and deploy/grafana against a running system, without containers.

Starts the demo and a real Prometheus with the very prometheus.yml, targets adjusted, waits until the
role is scraped and the story has been told, and evaluates every panel of every dashboard. Needs
prometheus and promtool (Debian: apt-get install prometheus), and a build: cargo build.

    tests/observability.py
"""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CASEMENT = os.environ.get("CASEMENT_BIN", os.path.join(ROOT, "target/debug/casement"))
WAIT_MAX = 120

# Panels that stay empty for want of what they show: the gateway's limits, a merge, a lost report.
# An empty answer of any other is a query that asks for something there is not.
MAY_BE_EMPTY = set()


def fail(text):
    sys.exit(f"observability: {text}")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def eventually(what, check):
    until = time.monotonic() + WAIT_MAX
    last = None
    while time.monotonic() < until:
        try:
            last = check()
            if last:
                return last
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            last = error
        time.sleep(0.5)
    fail(f"not within {WAIT_MAX} s: {what}; last: {last}")


def adjusted(health):
    """The very configuration, but for where the roles are and how often they are asked."""
    with open(os.path.join(ROOT, "deploy/prometheus/prometheus.yml")) as file:
        text = file.read()
    static = (
        f'    static_configs:\n      - targets: ["127.0.0.1:{health}"]\n'
        "        labels: { __meta_dns_name: casement }\n"
    )
    text, count = re.subn(r"    dns_sd_configs:\n(?:      .*\n)+", static, text)
    if count != 1:
        fail("prometheus.yml finds its roles in another way than this program knows")
    return text.replace("interval: 10s", "interval: 1s").replace("timeout: 5s", "timeout: 1s")


def expressions():
    for path in sorted(glob.glob(os.path.join(ROOT, "deploy/grafana/dashboards/*.json"))):
        with open(path) as file:
            dashboard = json.load(file)
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                yield f"{dashboard['title']} / {panel['title']}", target["expr"]


def main():
    for tool in ("prometheus", "promtool"):
        if not shutil.which(tool):
            fail(f"there is no {tool}: apt-get install prometheus")
    if not os.path.isfile(CASEMENT):
        fail(f"there is no {CASEMENT}: cargo build")
    rules = os.path.join(ROOT, "deploy/prometheus")
    for check in (
        ["check", "config", f"{rules}/prometheus.yml"],
        ["check", "rules", f"{rules}/rules.yml"],
        ["test", "rules", f"{rules}/rules.test.yml"],
    ):
        subprocess.run(["promtool", *check], check=True)

    api, webhooks, health, nats, simulator, web, console = free_ports(7)
    work = tempfile.mkdtemp(prefix="casement-observability-")
    started = []

    def start(name, command, folder):
        log = open(os.path.join(work, f"{name}.log"), "w")
        started.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))

    try:
        shutil.copy(f"{rules}/rules.yml", work)
        with open(os.path.join(work, "prometheus.yml"), "w") as file:
            file.write(adjusted(health))
        # From the checkout, where its broker is found.
        start(
            "casement",
            [CASEMENT, "up", "--demo", "--ephemeral"]
            + ["--api-listen", f"127.0.0.1:{api}", "--webhooks-listen", f"127.0.0.1:{webhooks}"]
            + ["--health-listen", f"127.0.0.1:{health}", "--nats-listen", f"127.0.0.1:{nats}"]
            + ["--console-listen", f"127.0.0.1:{console}"]
            + ["--simulator-listen", f"127.0.0.1:{simulator}"],
            ROOT,
        )
        start(
            "prometheus",
            ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
            + [f"--web.listen-address=127.0.0.1:{web}"],
            work,
        )

        def query(expression):
            for process in started:
                if process.poll() is not None:
                    fail(f"{process.args[0]} ended")
            asked = urllib.parse.urlencode({"query": expression.replace("$__rate_interval", "1m")})
            return json.loads(get(f"http://127.0.0.1:{web}/api/v1/query?{asked}"))["data"]["result"]

        eventually("the roles are scraped", lambda: query('up{job="casement"} == 1'))
        eventually(
            "the window expired, and the last message was delivered",
            lambda: query('casement_window_events_total{event="expired"} > 0')
            and query('casement_dispatcher_holds_total{event="released"} > 0'),
        )
        # Two scrapes after the last change, so that every rate has something to rest on.
        time.sleep(3)
        empty = []
        count = 0
        for place, expression in expressions():
            count += 1
            try:
                if not query(expression):
                    empty.append(f"{place}: {expression}")
            except urllib.error.HTTPError as error:
                fail(f"{place}: {expression}: {error.read().decode()}")
        unexpected = [one for one in empty if one.split(":")[0] not in MAY_BE_EMPTY]
        if unexpected:
            fail("nothing to show:\n" + "\n".join(unexpected))
        groups = json.loads(get(f"http://127.0.0.1:{web}/api/v1/rules"))["data"]["groups"]
        sick = [rule for group in groups for rule in group["rules"] if rule["health"] == "err"]
        if sick:
            fail(f"rules that cannot be evaluated: {sick}")
        rules_count = sum(len(group["rules"]) for group in groups)
        print(f"observability: {count} queries of panels and {rules_count} rules evaluated")
    except BaseException:
        for name in os.listdir(work):
            if name.endswith(".log"):
                with open(os.path.join(work, name)) as file:
                    print(f"--- {name}\n{file.read()[-3000:]}", file=sys.stderr)
        raise
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)
        shutil.rmtree(work, ignore_errors=True)


main()
