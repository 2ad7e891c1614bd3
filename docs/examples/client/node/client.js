// Asks for a customer's window, sends a message, and lists what happened to it.
//
// It prints one line of JSON for each answer, or for the error, and is made to be copied.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { toJson } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
// Generated: npm run generate
import { ArchivedEventSchema, AuditService } from "./gen/casement/audit/v1/audit_service_pb.js";
import { Purpose } from "./gen/casement/events/v1/message_pb.js";
import { MessageSchema, MessageService, WaitFor } from "./gen/casement/message/v1/message_service_pb.js";
import { WindowSchema, WindowService } from "./gen/casement/window/v1/window_service_pb.js";
import { ErrorInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const TIMEOUT_MS = 30_000;
const RETRY_DELAYS_MS = [100, 200, 400, 800];

const USAGE = `Send a message and follow it.

  --api URL          Casement's address (http://127.0.0.1:8081)
  --token-file FILE  file with the API token
  --number NUMBER    the business number, as in +15550001111
  --to PHONE         the customer's phone, as in +15550002222
  --text TEXT        what to say
  --request-id ID    the same id again is the same message`;

const { values: args } = parseArgs({
  options: {
    api: { type: "string", default: "http://127.0.0.1:8081" },
    "token-file": { type: "string" },
    number: { type: "string" },
    to: { type: "string" },
    text: { type: "string" },
    "request-id": { type: "string" },
    help: { type: "boolean" },
  },
});
if (args.help || !(args["token-file"] && args.number && args.to && args.text)) {
  console.error(USAGE);
  process.exit(args.help ? 0 : 2);
}

const token = readFileSync(args["token-file"], "utf8").trim();
const transport = createGrpcTransport({
  baseUrl: args.api,
  defaultTimeoutMs: TIMEOUT_MS,
  interceptors: [authorize, askAgain],
});

try {
  tell("window", WindowSchema, await getWindow());
  const sent = await send();
  tell("message", MessageSchema, sent.message);
  for await (const event of listEvents(sent)) tell("event", ArchivedEventSchema, event);
} catch (error) {
  console.log(JSON.stringify({ error: explain(ConnectError.from(error)) }));
  process.exitCode = 1;
}

async function getWindow() {
  const { window } = await createClient(WindowService, transport).getWindow({
    number: args.number,
    customer: { customer: { case: "to", value: args.to } },
  });
  return window;
}

function send() {
  return createClient(MessageService, transport).sendMessage({
    number: args.number,
    customer: { case: "to", value: args.to },
    // Free-form while the window is open, else SMS. A template would come between the two.
    content: { freeForm: { text: args.text }, sms: { text: args.text } },
    purpose: Purpose.SERVICE,
    // Keep it with what the message is about, so that it is the same after a crash of yours.
    requestId: args["request-id"] ?? randomUUID(),
    // The answer comes once a provider was called. Without it, once the message is on disk.
    waitFor: WaitFor.ATTEMPTED,
  });
}

async function* listEvents({ message, position }) {
  const client = createClient(AuditService, transport);
  let pageToken = "";
  do {
    const page = await client.listEvents({
      messageId: message.messageId,
      // Answer from an archive that has what was just written, not from an older one.
      notBefore: position,
      pageToken,
    });
    yield* page.events;
    pageToken = page.nextPageToken;
  } while (pageToken);
}

/**
 * Says with every call who calls.
 * @type {import("@connectrpc/connect").Interceptor}
 */
function authorize(next) {
  return (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}

/**
 * Asks again what was not answered. For a message that is safe because of its request id.
 * @type {import("@connectrpc/connect").Interceptor}
 */
function askAgain(next) {
  return async (request) => {
    for (const delay of RETRY_DELAYS_MS) {
      try {
        return await next(request);
      } catch (error) {
        if (ConnectError.from(error).code !== Code.Unavailable) throw error;
        await sleep(delay);
      }
    }
    return next(request);
  };
}

/**
 * Branch on code and reason; the message is for people and may change.
 * @param {ConnectError} error
 */
function explain(error) {
  const [info] = error.findDetails(ErrorInfoSchema);
  return {
    code: Code[error.code],
    reason: info?.reason ?? "",
    message: error.rawMessage,
  };
}

function tell(what, schema, message) {
  console.log(JSON.stringify({ [what]: toJson(schema, message) }));
}
