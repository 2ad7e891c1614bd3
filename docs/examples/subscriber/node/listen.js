// Hears what a subscriber of `casement subscriber add` may hear. The broker keeps its place: started
// again, it goes on with the first event that it has not acknowledged.
//
//     npm install @nats-io/jetstream @nats-io/transport-node

import { readFileSync } from "node:fs";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const [server, user, passwordFile, ca, ...streams] = process.argv.slice(2);
const connection = await connect({
  servers: server,
  user,
  pass: readFileSync(passwordFile, "utf8").trim(),
  inboxPrefix: `_INBOX_${user}`,
  tls: ca === "-" ? undefined : { caFile: ca },
});
await Promise.all(streams.map(listen));

async function listen(stream) {
  const consumer = await jetstream(connection).consumers.get(stream, `sub-${user}`);
  for await (const event of await consumer.consume({ max_messages: 1 })) {
    const header = (name) => event.headers?.get(name) ?? "";
    // Handle it here, unless its ce-id was handled before; the payload is what ce-type names.
    console.log(header("ce-id"), header("ce-type"), event.subject);
    event.ack();
  }
}
