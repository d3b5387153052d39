import type { StoredMessage } from "../directory/messages.ts";
import { SipRequest } from "../sip/message/message.ts";
import { parseMessage } from "../sip/message/parse.ts";
import { parseUri, tryAorOf } from "../sip/message/uri.ts";
import { storedForm } from "./copy.ts";
import { failureNotification, type NotificationAsked, negativeDeliveryAsked, sipUriFor } from "./imdn.ts";
import type { MessagingParts } from "./ports.ts";

/**
 * Tells senders who asked for it (RFC 5438, `negative-delivery`) that a message failed for good. To a user of ours the
 * notification is stored like any message, and delivered wherever he is; to anybody else it is sent once.
 */
export class Notifier {
  readonly #parts: MessagingParts;
  readonly #stored: () => void;

  /** @param stored a notification was stored. */
  constructor(parts: MessagingParts, stored: () => void) {
    this.#parts = parts;
    this.#stored = stored;
  }

  /** Safe to repeat. Rejects with DirectoryUnavailable where it must be stored and cannot be. */
  async failed(message: StoredMessage): Promise<void> {
    const asked = askedOf(message);
    if (asked === null) return;
    const { directory, runtime, router, telemetry, options } = this.#parts;
    const at = runtime.clock.wall();
    try {
      const { request, callId, fromTag } = failureNotification(message, asked, router.domains[0]!, at);
      const recipient = this.#userOf(asked.to, message.origin);
      // What a client writes into CPIM proves nothing: nobody is sent notifications in another's name.
      if (message.origin === null && recipient !== message.sender) return;
      if (recipient === null) return this.#sendOnce(request);
      const { keepMs, limits } = options();
      const outcome = await directory.messages.store({
        message: {
          id: `imdn-${message.id}`,
          recipient,
          sender: message.recipient,
          origin: null,
          callId,
          fromTag,
          cseq: 1,
          requestUri: request.requestUri,
          request: storedForm(request, { kind: "client", authenticated: null }, at),
          receivedAt: at,
          expiresAt: at + keepMs,
        },
        behindOthers: false,
        why: `tells of ${message.id}`,
        limits,
        delayMs: null,
        underWay: null,
      });
      if (outcome.outcome === "stored") this.#stored();
    } catch (error) {
      if ((error as Error).name === "DirectoryUnavailable") throw error;
      telemetry.emit("warning", { what: "a delivery notification", detail: (error as Error).message });
    }
  }

  /** His canonical AoR, where he is a user of one of our domains. @param server that calls him so; null: a client does. */
  #userOf(uri: string, server: string | null): string | null {
    const { router } = this.#parts;
    const name = tryAorOf(parseUri(sipUriFor(uri)));
    const aor = name === undefined ? undefined : router.canonical(name, server);
    return aor !== undefined && router.domains.includes(aor.slice(aor.lastIndexOf("@") + 1)) ? aor : null;
  }

  #sendOnce(request: SipRequest): void {
    const uri = parseUri(request.requestUri);
    if (uri.kind !== "sip") return;
    this.#parts.outbound.toUri(uri, 0, () => request, { size: request.raw.length }).catch(() => undefined);
  }
}

function askedOf(message: StoredMessage): NotificationAsked | null {
  try {
    const request = parseMessage(message.request);
    return request instanceof SipRequest ? negativeDeliveryAsked(request) : null;
  } catch {
    return null;
  }
}
