"""Hears what a subscriber of `casement subscriber add` may hear. The broker keeps its place: started
again, it goes on with the first event that it has not acknowledged.

    pip install nats-py
"""

import asyncio
import ssl
import sys
from pathlib import Path

import nats


async def main(server, user, password_file, ca, *streams):
    connection = await nats.connect(
        server,
        user=user,
        password=Path(password_file).read_text().strip(),
        inbox_prefix=f"_INBOX_{user}",
        tls=None if ca == "-" else ssl.create_default_context(cafile=ca),
    )
    await asyncio.gather(*(listen(connection, user, stream) for stream in streams))


async def listen(connection, user, stream):
    subscription = await connection.jetstream().pull_subscribe_bind(f"sub-{user}", stream)
    while True:
        try:
            [event] = await subscription.fetch(1, timeout=30)
        except nats.errors.TimeoutError:
            continue
        headers = event.headers or {}
        # Handle it here, unless its ce-id was handled before; the payload is what ce-type names.
        print(headers.get("ce-id"), headers.get("ce-type"), event.subject, flush=True)
        await event.ack()


asyncio.run(main(*sys.argv[1:]))
