import type { Directory } from "../directory/directory.ts";
import type { StoredMessage } from "../directory/messages.ts";
import type { Origin } from "../federation/facts.ts";
import type { Plan } from "../federation/plan.ts";
import type { Sender } from "../federation/sender.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { Outbound, Reply } from "../sip/transaction/outbound.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";
import type { Telemetry } from "../telemetry/events.ts";
import type { MessagingOptions } from "./options.ts";

/** What delivering works with. */
export interface MessagingParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "messages" | "learn" | "unlearn" | "onChange">;
  readonly outbound: Outbound;
  readonly router: Router;
  /** As they are now. */
  readonly options: () => MessagingOptions;
}

/** Where a stored message goes now. */
export interface Where {
  readonly plan: Plan;
  /** To be called before it is sent to these. Rejects with DirectoryUnavailable. */
  allow(servers: readonly string[]): Promise<void>;
  /** Who is asked in the place of one that does not have the user, or cannot be asked. */
  instead(server: string): readonly string[];
}

/** Where messages go, asked of the same decision that traffic is. */
export interface Router {
  /** From the database, never from the cache. Rejects with DirectoryUnavailable. */
  where(message: StoredMessage): Promise<Where>;
  /** Methods of this server's that prove who lives there hold for MESSAGE. */
  proves(server: string): boolean;
  /** What this server calls a user of ours. */
  nameOn(aor: string, server: string): string;
  /** The user whom this server calls so; `server` null: who is meant by a client. */
  canonical(aor: string, server: string | null): string;
  /** A server can be asked again. Returns the way to end it. */
  onServerUp(listener: (server: string) => void): () => void;
  /** Lower case; the first is the default one. */
  readonly domains: readonly string[];
  /** How long what was learned counts, milliseconds. */
  readonly learnedMs: number;
  /** Retry-After where the database is away, seconds. */
  readonly retryAfterS: number;
}

/** A MESSAGE handed over by the proxy. */
export interface HandedMessage {
  readonly transaction: ServerTransaction;
  readonly request: SipRequest;
  readonly origin: Origin;
  readonly aor: string;
  readonly sender: Sender;
  respond(response: SipResponse): void;
}

/** A try on the way of the proxy that did not deliver. */
export interface FailedTry {
  readonly server: string;
  /** `unreachable`: there was no way to send it. */
  readonly reply: Reply;
  /** It is under way still, and may yet be answered; null: it has ended. */
  readonly late: Promise<Reply> | null;
}
