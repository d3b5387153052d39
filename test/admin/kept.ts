import type { Directory } from "../../src/directory/directory.ts";

const LATE = Date.parse("2100-01-01T00:00:00Z");

/** Bob watches alice, who is nowhere, and carol, who is on east. */
export async function keepSubscriptions(directory: Directory): Promise<void> {
  const owner = await directory.leases.open("sip:127.0.0.1", 60_000);
  const row = {
    kind: "presence",
    watcher: "bob@example.com",
    origin: "west",
    event: "presence",
    dialog: "a dialog",
    expiresAt: LATE,
    notifyReserved: 16,
    legReserved: 0,
  } as const;
  const held = { id: "cdm-1", aor: "alice@example.com", leg: null, legServer: null, extendedEpoch: 0 };
  const live = { id: "cdm-2", aor: "carol@example.com", leg: "a leg", legServer: "east", extendedEpoch: 1 };
  for (const each of [held, live]) await directory.subscriptions.insert(owner, { ...row, ...each }, false);
}

/** A message of bob's that waits for alice. Gives its id. */
export async function keepMessage(directory: Directory): Promise<string> {
  const message = {
    id: "message1",
    callId: "call-1",
    fromTag: "tag-1",
    cseq: 1,
    requestUri: "sip:alice@example.com",
    recipient: "alice@example.com",
    sender: "bob@example.com",
    origin: null,
    request: "MESSAGE sip:alice@example.com SIP/2.0\r\n\r\na secret",
    receivedAt: Date.now(),
    expiresAt: LATE,
  };
  const limits = { perRecipient: 10, octetsPerRecipient: 10_000, perSender: 10 };
  const outcome = await directory.messages.store({
    message,
    behindOthers: false,
    why: "nobody has him",
    limits,
    delayMs: null,
    underWay: null,
  });
  if (outcome.outcome !== "stored") throw new Error(outcome.outcome);
  return message.id;
}
