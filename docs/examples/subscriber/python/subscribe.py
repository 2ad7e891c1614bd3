"""Follows the windows of one business number: each event is handled once and in order, however
often this program is killed, and told as one line of JSON.

It is made to be copied. What happens here and why is told in docs/subscribe.md.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

# Generated: python generate.py
sys.path.insert(0, str(Path(__file__).parent / "gen"))
from casement.events.v1 import window_pb2 as v1

STREAM = "EVENTS"

# Every window event holds the whole window.
EVENTS = {
    event.DESCRIPTOR.full_name: event
    for event in (
        v1.WindowOpened,
        v1.WindowExtended,
        v1.WindowExpiring,
        v1.WindowExpired,
        v1.WindowCorrected,
    )
}

# A handler that takes longer says so: await message.in_progress().
ACK_WAIT_SECONDS = 10

# How long one request for the next event stands. One that was lost with a connection is repeated
# after that time.
FETCH_SECONDS = 5


def arguments():
    parser = argparse.ArgumentParser(description="Follow the windows of one business number.")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", help="the broker")
    parser.add_argument("--creds", help="credentials file for the broker")
    parser.add_argument("--user", help="user at the broker")
    parser.add_argument("--password-file", type=Path, help="file that holds the user's password")
    parser.add_argument("--number", required=True, help="the business number, as in +15550001111")
    parser.add_argument(
        "--durable",
        default="example-python",
        help="name of the durable consumer: one for each service that listens",
    )
    parser.add_argument(
        "--seen", type=Path, default="seen-ids", help="where the ids of handled events are kept"
    )
    return parser.parse_args()


async def main():
    args = arguments()
    seen = Seen(args.seen)
    connection = await nats.connect(
        args.nats,
        name=args.durable,
        user=args.user,
        password=args.password_file and args.password_file.read_text().strip(),
        user_credentials=args.creds,
        max_reconnect_attempts=-1,
        error_cb=report,
    )
    subscription = await subscribe(connection.jetstream(), args)
    while True:
        try:
            [message] = await subscription.fetch(1, timeout=FETCH_SECONDS)
        except nats.errors.TimeoutError:
            continue
        except nats.errors.Error as error:
            await report(error)
            await asyncio.sleep(1)
            continue
        # An error in here ends the program before the acknowledgement: it gets this event again
        # when it is started again.
        handle_once(message, seen)
        # Lost, it is only repeated.
        await message.ack()


async def subscribe(jetstream, args):
    """Creates the durable consumer, or goes on with the one that is there.

    It begins with the newest event of each conversation, which holds its whole window, and goes on
    with everything that was stored after those: the broker notes where the stream ends when it
    makes the consumer, so there is no gap between the two.
    """
    config = ConsumerConfig(
        name=args.durable,
        durable_name=args.durable,
        filter_subject=f"casement.events.window.*.{args.number.lstrip('+')}.*",
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT_SECONDS,
        # One after the other: an event that has to be delivered again comes before its successors.
        max_ack_pending=1,
    )
    await jetstream.add_consumer(STREAM, config)
    return await jetstream.pull_subscribe_bind(durable=args.durable, stream=STREAM)


def handle_once(message, seen):
    """Handles an event unless its id has been seen."""
    event_id = message.headers["ce-id"]
    if event_id in seen:
        return
    handle(event_id, message)
    # Where handling means to write to a database, write the id in the same transaction.
    seen.add(event_id)


def handle(event_id, message):
    event_type = EVENTS.get(message.headers["ce-type"])
    if event_type is None:
        # New types may appear: leave alone what you do not know.
        return
    window = event_type.FromString(message.data).window
    told = {
        "id": event_id,
        "type": event_type.DESCRIPTOR.name,
        "sequence": message.metadata.sequence.stream,
        "customer": window.conversation.customer_id,
        "window": window.window_id,
        "state": v1.WindowState.Name(window.state),
        "openTime": window.open_time.ToJsonString(),
        "expireTime": window.expire_time.ToJsonString(),
        # Nothing, if the last word is the business's and nobody waits for an answer.
        "waitingSinceTime": window.waiting_since_time.ToJsonString()
        if window.HasField("waiting_since_time")
        else None,
    }
    print(json.dumps(told), flush=True)


async def report(error):
    print(f"{error!r}; asking again", file=sys.stderr)


class Seen:
    """The ids of the events handled last, kept in a file so that a restart knows them, too.

    It serves one process. Where several share the work, or handling writes to a database, keep the
    ids in that database.
    """

    # So many ids are remembered at least, and twice as many at most. With one event at a time, the
    # one delivered again is nearly always the last.
    REMEMBERED_MIN = 10_000

    def __init__(self, path):
        self.path = path
        # A dict keeps the order in which its keys came.
        self.ids = dict.fromkeys(path.read_text().split() if path.exists() else ())
        self._shorten()

    def __contains__(self, event_id):
        return event_id in self.ids

    def add(self, event_id):
        """Remembers an event; it is on disk when this returns."""
        self.ids[event_id] = None
        write_lines(self.file, [event_id])
        if len(self.ids) >= 2 * self.REMEMBERED_MIN:
            self.file.close()
            self._shorten()

    def _shorten(self):
        """Forgets the oldest, in a new file that takes the old one's place at once or not at all."""
        self.ids = dict.fromkeys(list(self.ids)[-self.REMEMBERED_MIN :])
        new = self.path.with_suffix(".new")
        with new.open("w") as file:
            write_lines(file, self.ids)
        new.replace(self.path)
        self.file = self.path.open("a")


def write_lines(file, lines):
    file.writelines(f"{line}\n" for line in lines)
    file.flush()
    os.fsync(file.fileno())


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
