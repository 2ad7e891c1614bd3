#!/usr/bin/env python3
"""Traffic against the demo of docker-compose.yml, and the account of what became of it.

    traffic.py run   --image IMAGE --network NETWORK… --secrets FOLDER --simulator URL --notes FILE
    traffic.py check --image IMAGE --network NETWORK… --secrets FOLDER --simulator URL --notes FILE

`run` goes on until SIGTERM: customers write through the simulator, and messages are sent through the
gateway, each repeated with its request id until it is answered. `check` waits until all of it came to
its end and compares three books: what was noted here, what the log says, what the platform says.
"""

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request

PHONE_NUMBER_ID = "106540352242922"
NUMBER = "+15550001111"
CUSTOMERS = 60
PER_SECOND = 4
SETTLED_WITHIN = 180

# Repeats each line's message until it is answered, and prints the answer. On a slow machine that may be
# after the window of twenty seconds; so each has a template and vouches for an opt-in.
SENDER = """
while read -r id phone; do
    until timeout 5 casement send --api http://gateway:8081 --token-file /run/token-app \
        --number "$1" --to "$phone" --text "out-$id" --template order_update --language en_US --param "$id" \
        --purpose utility --opt-in web-form --request-id "$2-$id" --json; do
        sleep 0.2
    done
done
"""


def asked(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def casement(args, *command):
    """Makes a container of the program, on those networks; what is returned starts it. `sh` runs its shell."""
    entry = ["--entrypoint", "sh", "--name", f"{args.network[0]}-sender"] if command[0] == "sh" else []
    mounts = [
        part
        for name in ("token-app", "token-operator", "nats-subscriber")
        for part in ("-v", f"{args.secrets}/{name}:/run/{name}:ro")
    ]
    mounts += ["-v", f"{args.secrets}/../nats/site/ca.pem:/run/nats-ca.pem:ro"]
    rest = list(command[1:] if entry else command)
    user = subprocess.run(
        ["stat", "-c", "%u:%g", f"{args.secrets}/token-app"], capture_output=True, text=True, check=True
    ).stdout.strip()
    # One network at a time: not every engine takes several when it makes a container.
    first, *others = args.network
    made = subprocess.run(
        ["docker", "create", "-i", "--rm", "--network", first, "--user", user, *mounts, *entry, args.image, *rest],
        capture_output=True, text=True, check=True,
    ).stdout.strip()
    for network in others:
        subprocess.run(["docker", "network", "connect", network, made], check=True)
    return ["docker", "start", "--attach", "--interactive", made]


def run(args):
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    batch = str(int(time.time()))
    phones = [f"+1555{7_000_000 + index:07}" for index in range(CUSTOMERS)]
    for index, phone in enumerate(phones):
        asked(f"{args.simulator}/_sim/customers", {"name": f"C{index}", "phone": phone})
    notes = open(args.notes, "a", buffering=1)
    sender = subprocess.Popen(
        casement(args, "sh", "-c", SENDER, "sender", NUMBER, batch),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )

    def answers():
        for line in sender.stdout:
            answer = json.loads(line)
            notes.write(json.dumps({"sent": answer["message"]["messageId"], "at": time.time()}) + "\n")

    reader = threading.Thread(target=answers)
    reader.start()
    count = 0
    while not stopping.wait(1 / PER_SECOND):
        phone = phones[count % CUSTOMERS]
        says = {"customer": phone, "phone_number_id": PHONE_NUMBER_ID, "text": f"in-{count}"}
        notes.write(json.dumps({"said": asked(f"{args.simulator}/_sim/says", says)["id"]}) + "\n")
        sender.stdin.write(f"{count} {phone}\n")
        sender.stdin.flush()
        notes.write(json.dumps({"asked": count}) + "\n")
        count += 1
    sender.stdin.close()
    reader.join()
    sender.wait()
    print(f"traffic: {count} messages each way")


def lines(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"traffic: {' '.join(command)} failed: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def log(args):
    return lines(casement(
        args, "events", "tail", "--nats", "nats://nats:4222", "--nats-user", "subscriber",
        "--nats-password-file", "/run/nats-subscriber", "--nats-ca", "/run/nats-ca.pem", "--from", "start", "--no-follow", "--json",
    ))


def short(event):
    return event["type"].rsplit(".", 1)[-1]


def check(args):
    noted = [json.loads(line) for line in open(args.notes)]
    said = [note["said"] for note in noted if "said" in note]
    sent = [note["sent"] for note in noted if "sent" in note]
    asked_for = sum("asked" in note for note in noted)
    times = [note["at"] for note in noted if "sent" in note]
    longest = max((later - earlier for earlier, later in zip(times, times[1:])), default=0)
    problems = []
    if len(set(sent)) != asked_for:
        problems.append(f"{asked_for} sends were asked for, {len(set(sent))} have an id")

    deadline = time.monotonic() + SETTLED_WITHIN
    while True:
        events = log(args)
        ended = {}
        for event in events:
            if short(event) == "MessageEnded":
                ended.setdefault(event["event"]["messageId"], []).append(event["event"].get("outcome", ""))
        webhooks = asked(f"{args.simulator}/_sim/webhooks")
        is_settled = webhooks["pending"] == 0 and all(id in ended for id in sent)
        if is_settled or time.monotonic() > deadline:
            break
        time.sleep(1)
    if webhooks["pending"]:
        problems.append(f"{webhooks['pending']} webhooks were never taken")

    # What customers said: each a fact, once.
    facts = {}
    for event in events:
        if short(event) == "InboundMessageReceived":
            facts.setdefault(event["event"]["providerMessageId"], []).append(event)
    lost = [id for id in said if id not in facts]
    twice = [id for id in said if len(facts.get(id, [])) > 1]
    if lost:
        problems.append(f"{len(lost)} of {len(said)} customers' messages are lost: {lost[:3]}")
    if twice:
        places = [[(event["sequence"], event["storedTime"]) for event in facts[id]] for id in twice]
        problems.append(f"{len(twice)} customers' messages are there twice: {places[:40]}")

    # What was sent: each came once, or says that nobody knows.
    taken = {}
    for message in asked(f"{args.simulator}/_sim/sent")["sent"]:
        if message["outcome"] == "accepted" and message["callback_data"]:
            id = message["callback_data"].rsplit(".", 1)[0]
            taken[id] = taken.get(id, 0) + 1
    outcomes = {}
    for id in sent:
        outcome = ended.get(id, ["none"])
        if len(outcome) != 1:
            problems.append(f"{id} ended {len(outcome)} times")
        outcomes[outcome[0]] = outcomes.get(outcome[0], 0) + 1
        if taken.get(id, 0) > 1:
            problems.append(f"{id} was sent {taken[id]} times")
        if outcome[0] == "MESSAGE_OUTCOME_DELIVERED" and taken.get(id, 0) != 1:
            problems.append(f"{id} is told as delivered, the platform has it {taken.get(id, 0)} times")
    if set(outcomes) - {"MESSAGE_OUTCOME_DELIVERED"}:
        problems.append(f"not everything was delivered: {outcomes}")
        # What was last heard of those that wait tells for what.
        newest = {event["event"].get("messageId"): event for event in events if "messageId" in event["event"]}
        stuck = [newest[id] for id in sent if id not in ended and id in newest]
        kinds = {kind: sum(short(event) == kind for event in stuck) for kind in map(short, stuck)}
        if stuck:
            problems.append(f"last heard of those without an end: {kinds}, the first: {stuck[0]}")

    # The archive: whole, and as far as the log.
    deadline = time.monotonic() + SETTLED_WITHIN
    reports = {}
    last = {}
    for event in events:
        last[event["stream"]] = max(last.get(event["stream"], 0), event["sequence"])
    while True:
        command = casement(
            args, "audit", "verify", "--api", "http://gateway:8081", "--token-file", "/run/token-operator", "--json"
        )
        reports = {report["stream"]: report for report in lines(command)}
        behind = [
            stream for stream, sequence in last.items()
            if int(reports.get(stream, {}).get("lastSequence", 0)) < sequence
        ]
        if not behind or time.monotonic() > deadline:
            break
        time.sleep(1)
    if behind:
        problems.append(f"the archive is behind the log: {behind}")
    problems.extend(f"the chain of {name} is broken" for name, report in reports.items() if not report.get("intact"))

    attempts = sum(short(event) == "AttemptStarted" for event in events)
    posts = sum(webhook["attempt_count"] for webhook in webhooks["webhooks"])
    print(f"traffic: {len(said)} customers' messages, all on the log once" if not lost and not twice else "traffic:")
    print(f"traffic: {len(sent)} sends: {outcomes}, {attempts} attempts, the platform took {sum(taken.values())}")
    print(f"traffic: {len(webhooks['webhooks'])} webhooks in {posts} posts, {webhooks['pending']} pending")
    print(f"traffic: archive intact up to {last}")
    print(f"traffic: at most {longest:.1f} s between two sends that were accepted")
    if problems:
        sys.exit("traffic: " + "\ntraffic: ".join(problems))


parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["run", "check"])
for name in ("image", "secrets", "simulator", "notes"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--network", required=True, action="append")
arguments = parser.parse_args()
{"run": run, "check": check}[arguments.command](arguments)
