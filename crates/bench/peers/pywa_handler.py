"""pywa behind FastAPI, as its documentation shows it.

Its handlers keep what they are handed: in PostgreSQL if STORE is `postgres`, else in memory.
"""

import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI
from pywa_async import WhatsApp, types

IS_STORED = os.environ["STORE"] == "postgres"
kept: list[tuple[str, str]] = []


@asynccontextmanager
async def lifespan(app: FastAPI):
    if not IS_STORED:
        yield
        return
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)
whatsapp = WhatsApp(
    phone_id="111",
    token="not-used-here",
    server=app,
    webhook_endpoint="/webhooks/whatsapp",
    verify_token=os.environ["VERIFY_TOKEN"],
    app_secret=os.environ["APP_SECRET"],
)


async def keep(kind: str, update_id: str) -> None:
    if IS_STORED:
        await app.state.pool.execute("INSERT INTO updates (kind, id) VALUES ($1, $2)", kind, update_id)
    else:
        kept.append((kind, update_id))


@whatsapp.on_message
async def message(_: WhatsApp, update: types.Message) -> None:
    await keep("message", update.id)


@whatsapp.on_message_status
async def status(_: WhatsApp, update: types.MessageStatus) -> None:
    await keep(f"status {update.status.value}", update.id)
