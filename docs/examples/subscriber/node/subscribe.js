// Follows the windows of one business number: each event is handled once and in order, however
// often this program is killed, and told as one line of JSON.
//
// It is made to be copied. What happens here and why is told in docs/subscribe.md.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { enumToJson, fromBinary, toJson } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, credsAuthenticator, nanos } from "@nats-io/transport-node";
// Generated: npm run generate
import {
  WindowCorrectedSchema,
  WindowExpiredSchema,
  WindowExpiringSchema,
  WindowExtendedSchema,
  WindowOpenedSchema,
  WindowStateSchema,
} from "./gen/casement/events/v1/window_pb.js";
import { Seen } from "./seen.js";

const STREAM = "EVENTS";

/** Every window event holds the whole window. */
const EVENTS = new Map(
  [
    WindowOpenedSchema,
    WindowExtendedSchema,
    WindowExpiringSchema,
    WindowExpiredSchema,
    WindowCorrectedSchema,
  ].map((schema) => [schema.typeName, schema]),
);

/** A handler that takes longer says so: message.working(). */
const ACK_WAIT_MS = 10_000;

const USAGE = `Follow the windows of one business number.

  --nats URL            the broker (nats://127.0.0.1:4222)
  --creds FILE          credentials file for the broker
  --user NAME           user at the broker
  --password-file FILE  file that holds the user's password
  --number NUMBER       the business number, as in +15550001111
  --durable NAME        name of the durable consumer: one for each service that listens
  --seen FILE           where the ids of handled events are kept`;

const { values: args } = parseArgs({
  options: {
    nats: { type: "string", default: "nats://127.0.0.1:4222" },
    creds: { type: "string" },
    user: { type: "string" },
    "password-file": { type: "string" },
    number: { type: "string" },
    durable: { type: "string", default: "example-node" },
    seen: { type: "string", default: "seen-ids" },
    help: { type: "boolean" },
  },
});
if (args.help || !args.number) {
  console.error(USAGE);
  process.exit(args.help ? 0 : 2);
}

const seen = new Seen(args.seen);
const connection = await connect({
  servers: args.nats,
  name: args.durable,
  user: args.user,
  pass: args["password-file"] && readFileSync(args["password-file"], "utf8").trim(),
  authenticator: args.creds ? credsAuthenticator(readFileSync(args.creds)) : undefined,
  waitOnFirstConnect: true,
  maxReconnectAttempts: -1,
});
const consumer = await subscribe();
for await (const message of await consumer.consume({ max_messages: 1 })) {
  // An error in here ends the program before the acknowledgement: it gets this event again when it
  // is started again.
  handleOnce(message);
  // Lost, it is only repeated.
  message.ack();
}

/**
 * Creates the durable consumer, or goes on with the one that is there.
 *
 * It begins with the newest event of each conversation, which holds its whole window, and goes on
 * with everything that was stored after those: the broker notes where the stream ends when it makes
 * the consumer, so there is no gap between the two.
 */
async function subscribe() {
  const manager = await jetstreamManager(connection);
  await manager.consumers.add(STREAM, {
    durable_name: args.durable,
    filter_subject: `casement.events.window.*.${args.number.replace("+", "")}.*`,
    deliver_policy: DeliverPolicy.LastPerSubject,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ACK_WAIT_MS),
    // One after the other: an event that has to be delivered again comes before its successors.
    max_ack_pending: 1,
  });
  return jetstream(connection).consumers.get(STREAM, args.durable);
}

/**
 * Handles an event unless its id has been seen.
 * @param {import("@nats-io/jetstream").JsMsg} message
 */
function handleOnce(message) {
  const id = message.headers.get("ce-id");
  if (seen.has(id)) return;
  handle(id, message);
  // Where handling means to write to a database, write the id in the same transaction.
  seen.add(id);
}

/**
 * @param {string} id
 * @param {import("@nats-io/jetstream").JsMsg} message
 */
function handle(id, message) {
  const schema = EVENTS.get(message.headers.get("ce-type"));
  // New types may appear: leave alone what you do not know.
  if (!schema) return;
  const { window } = fromBinary(schema, message.data);
  console.log(
    JSON.stringify({
      id,
      type: schema.name,
      sequence: message.seq,
      customer: window.conversation.customerId,
      window: window.windowId,
      state: enumToJson(WindowStateSchema, window.state),
      openTime: toJson(TimestampSchema, window.openTime),
      expireTime: toJson(TimestampSchema, window.expireTime),
      // Nothing, if the last word is the business's and nobody waits for an answer.
      waitingSinceTime: window.waitingSinceTime
        ? toJson(TimestampSchema, window.waitingSinceTime)
        : null,
    }),
  );
}
