import type { MessageLimits } from "../directory/messages.ts";

/** What stored messages need to know; made from the configuration, and replaced whole on reload. */
export interface MessagingOptions {
  /** How long a message is kept at most; its own Expires may make that shorter. Milliseconds. */
  readonly keepMs: number;
  /** How long what ended is remembered, with its trace: second copies are known as long. */
  readonly traceMs: number;
  readonly limits: MessageLimits;
}

/** How hard messages are delivered; no matter of configuration. */
export interface DeliveryOptions {
  /** Queues this proxy delivers at a time, and of them those towards a server that does not answer. */
  readonly maxInFlight: number;
  readonly maxPerServer: number;
  /** A try is given up after this: 64*T1, Timer F (RFC 3261 17.1.2.2). */
  readonly tryMs: number;
  /** How long a queue is taken: longer than a try and what is written around it. */
  readonly holdMs: number;
  /** How often due queues are looked for, where nothing has told of any. */
  readonly pollMs: number;
  /** Tries that fail are repeated after this, twice that, and so on up to the most; a quarter more or less by chance. */
  readonly retryMs: number;
  readonly maxRetryMs: number;
  /** For tests only: a message is removed before it is sent. A crash in between is then to be seen. */
  readonly unsafeRemoveFirst: boolean;
}

export const DELIVERY_OPTIONS: DeliveryOptions = {
  maxInFlight: 64,
  maxPerServer: 24,
  tryMs: 32_000,
  holdMs: 40_000,
  pollMs: 1_000,
  retryMs: 2_000,
  maxRetryMs: 300_000,
  unsafeRemoveFirst: false,
};

export const MESSAGING_OPTIONS: MessagingOptions = {
  keepMs: 86_400_000,
  traceMs: 86_400_000,
  limits: { perRecipient: 1_000, octetsPerRecipient: 8 << 20, perSender: 10_000 },
};
