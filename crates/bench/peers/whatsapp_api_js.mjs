// whatsapp-api-js behind Node's own HTTP server, as its documentation shows it.
//
// Its handlers keep what they are handed: in PostgreSQL if STORE is `postgres`, else in memory.

import { createServer } from "node:http";
import pg from "pg";
import { WhatsAppAPI } from "whatsapp-api-js/middleware/node-http";

const isStored = process.env.STORE === "postgres";
const pool = isStored ? new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 }) : undefined;
const kept = [];

async function keep(kind, id) {
  if (isStored) {
    await pool.query("INSERT INTO updates (kind, id) VALUES ($1, $2)", [kind, id]);
  } else {
    kept.push([kind, id]);
  }
}

const whatsapp = new WhatsAppAPI({
  token: "not-used-here",
  appSecret: process.env.APP_SECRET,
  webhookVerifyToken: process.env.VERIFY_TOKEN,
  v: "v24.0",
});
whatsapp.on.message = ({ message }) => keep("message", message.id);
whatsapp.on.status = ({ status, id }) => keep(`status ${status}`, id);

const server = createServer(async (request, response) => {
  if (request.url === "/webhooks/whatsapp" && request.method === "POST") {
    response.statusCode = await whatsapp.handle_post(request);
  } else {
    response.statusCode = 404;
  }
  response.end();
});
server.listen(Number(process.argv[2]), "127.0.0.1");
