#!/usr/bin/env python3
"""Tries deploy/prometheus and deploy/grafana against a running system.

    tests/observability.py
    tests/observability.py --at URL

Starts the demo and a real Prometheus with the very prometheus.yml, targets adjusted, waits until the
role is scraped and the story has been told, and evaluates every panel of every dashboard. Needs
prometheus and promtool (Debian: apt-get install prometheus), and a build: cargo build.

With --at, asks the Prometheus there, which somebody else has started beside roles that each run alone
(tests/compose-observability.sh).
"""

import argparse
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

ROLES = {"accounts", "audit-projector", "dispatcher", "gateway", "ingress", "window-tracker"}


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


class Prometheus:
    """One that runs, and scrapes."""

    def __init__(self, address):
        self.address = address

    def query(self, expression):
        asked = urllib.parse.urlencode({"query": expression.replace("$__rate_interval", "1m")})
        return json.loads(get(f"{self.address}/api/v1/query?{asked}"))["data"]["result"]

    def evaluate_everything(self):
        """Fails if a panel of a dashboard has nothing to show, or a rule cannot be evaluated."""
        eventually(
            "the window expired, and the last message was delivered",
            lambda: self.query('casement_window_events_total{event="expired"} > 0')
            and self.query('casement_dispatcher_holds_total{event="released"} > 0'),
        )
        count = 0
        quiet = set()
        for place, expression in expressions():
            count += 1
            # A rate rests on two scrapes.
            series = eventually(f"{place} has something to show: {expression}", lambda: self.answer(place, expression))
            # The median of nothing, or a share of it.
            if all(one["value"][1] == "NaN" for one in series):
                quiet.add(place)
        for place in sorted(quiet):
            print(f"observability: {place}: a series and no number, since none of it happened lately")
        rules = eventually("every rule was evaluated", self.rules)
        if not count:
            fail("there is nothing to try")
        print(f"observability: {count} queries of panels and {len(rules)} rules evaluated")

    def rules(self):
        """The rules, once each was evaluated."""
        groups = json.loads(get(f"{self.address}/api/v1/rules"))["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        sick = [rule for rule in rules if rule["health"] == "err"]
        if sick:
            fail(f"rules that cannot be evaluated: {sick}")
        return all(rule["health"] == "ok" for rule in rules) and rules

    def answer(self, place, expression):
        try:
            return self.query(expression)
        except urllib.error.HTTPError as error:
            fail(f"{place}: {expression}: {error.read().decode()}")


def at(address):
    prometheus = Prometheus(address)

    def scraped():
        up = {one["metric"].get("role") for one in prometheus.query('up{job="casement"} == 1')}
        return up == ROLES

    eventually(f"each of {', '.join(sorted(ROLES))} is scraped", scraped)
    prometheus.evaluate_everything()


def alone():
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

        prometheus = Prometheus(f"http://127.0.0.1:{web}")

        def scraped():
            for process in started:
                if process.poll() is not None:
                    fail(f"{process.args[0]} ended")
            return prometheus.query('up{job="casement"} == 1')

        eventually("the roles are scraped", scraped)
        prometheus.evaluate_everything()
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


parser = argparse.ArgumentParser()
parser.add_argument("--at", metavar="URL")
address = parser.parse_args().at
if address:
    at(address)
else:
    alone()
