import { DirectoryUnavailable } from "../base/errors.ts";
import type { Claim, Damping, Directory } from "../directory/directory.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { Again } from "../sip/dialog/subscriber.ts";
import { buildResponse } from "../sip/message/build.ts";
import type { Outbound } from "../sip/transaction/outbound.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { ownText } from "./documents.ts";
import { Pace } from "./pace.ts";
import type { Handed } from "./ports.ts";
import { type Registered, RegWatch, WATCH_SECONDS } from "./reg-watch.ts";

/** What the subscriber to servers' registrations asks of the program around it. */
export interface RegSubscriberParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "claim" | "unbind">;
  readonly outbound: Outbound;
  /** Servers that offer event reg (`offers: [reg]`), as they are configured now. */
  readonly offering: () => readonly string[];
  readonly domain: () => string;
  /** How claims of this user are judged; null: he is not of the exclusive model. Rejects with DirectoryUnavailable. */
  readonly rules: (aor: string) => Promise<ClaimRules | null>;
  readonly nameOn: (aor: string, server: string) => Promise<string>;
}

export interface ClaimRules {
  readonly conflict: "takeover" | "refuse";
  readonly damping: Damping | null;
  readonly graceMs: number;
}

/** Subscriptions of ours at servers at most; more users are not asked about. */
export const MOST_WATCHES = 20_000;
/** SUBSCRIBEs under way at one server. */
const AT_ONCE = 100;
const LEAST_AGAIN_MS = 30_000;
const MOST_AGAIN_MS = 600_000;
const PREFIX = "cdr-";
const TAG_CHARACTERS = 20;

interface Waiting {
  watch: RegWatch | null;
  timer: Timer | null;
  /** In a row. */
  failures: number;
}

/**
 * Learns from servers' own registrations (RFC 3680) where users are that somebody watches here: who is registered at a
 * server is claimed for it, who is not any more is given up, by the same test-and-set as by REGISTER. Where several
 * proxies learn the same, the (Call-ID, CSeq) of the REGISTER makes one claim of it (RFC 3261 10.3 step 7).
 */
export class RegSubscriber {
  readonly #parts: RegSubscriberParts;
  readonly #pace = new Pace(AT_ONCE);
  /** By user, then by server. */
  readonly #users = new Map<string, Map<string, Waiting>>();
  readonly #byTag = new Map<string, RegWatch>();
  #stopped = false;
  /** Servers that offered the package when this was looked at last. */
  #offered: string;

  constructor(parts: RegSubscriberParts) {
    this.#parts = parts;
    this.#offered = parts.offering().join(" ");
  }

  get size(): number {
    return this.#byTag.size;
  }

  stop(): void {
    this.#stopped = true;
    this.clear();
  }

  /** Nobody is watched here any more; the servers will notice. */
  clear(): void {
    for (const servers of this.#users.values()) for (const waiting of servers.values()) waiting.timer?.cancel();
    for (const watch of this.#byTag.values()) watch.stop();
    this.#users.clear();
    this.#byTag.clear();
    this.#pace.clear();
  }

  /** Somebody watches him here, or nobody does any more. */
  watched(aor: string, isWatched: boolean): void {
    if (!isWatched) return this.#drop(aor);
    const servers = this.#parts.offering();
    if (servers.length === 0 || this.#stopped) return;
    const known = this.#users.get(aor);
    if (known === undefined && (this.#users.size + 1) * servers.length > MOST_WATCHES) {
      return this.#parts.telemetry.emit("limited", { what: "subscriptions to servers' registrations", source: aor });
    }
    const own = ownText(aor);
    const waiting = known ?? new Map<string, Waiting>();
    if (known === undefined) this.#users.set(own, waiting);
    for (const server of servers) {
      if (waiting.has(server)) continue;
      const each: Waiting = { watch: null, timer: null, failures: 0 };
      waiting.set(server, each);
      void this.#begin(own, server, each);
    }
  }

  /**
   * Other servers may offer the package now: those that no longer do are left, those that do are asked.
   * @param users who are watched.
   */
  reconfigured(users: Iterable<string>): void {
    const offering = this.#parts.offering();
    if (offering.join(" ") === this.#offered) return;
    this.#offered = offering.join(" ");
    for (const servers of this.#users.values()) {
      for (const [server, waiting] of servers) {
        if (offering.includes(server)) continue;
        servers.delete(server);
        this.#leave(waiting);
      }
    }
    for (const aor of users) {
      if ((this.#users.size + 1) * offering.length > MOST_WATCHES) break;
      this.watched(aor, true);
    }
  }

  ownsTag(tag: string): boolean {
    return tag.startsWith(PREFIX);
  }

  /** A request with such a tag. */
  handle(handed: Handed): void {
    const { request } = handed;
    const watch = this.#byTag.get(request.to.tag ?? "");
    const refuse = (status: number): void => handed.respond(buildResponse(handed.transaction.request, status));
    if (watch === undefined) return refuse(481);
    if (request.method !== "NOTIFY") return refuse(405);
    watch.notified(handed);
  }

  #drop(aor: string): void {
    const servers = this.#users.get(aor);
    if (servers === undefined) return;
    this.#users.delete(aor);
    for (const waiting of servers.values()) this.#leave(waiting);
  }

  #leave({ watch, timer }: Waiting): void {
    timer?.cancel();
    watch?.leave();
  }

  async #begin(aor: string, server: string, waiting: Waiting): Promise<void> {
    waiting.timer = null;
    const rules = await this.#parts.rules(aor).catch(onlyUnavailable);
    if (this.#users.get(aor)?.get(server) !== waiting) return;
    // Not of the exclusive model: servers' registrations are none of our business.
    if (rules === null) return;
    if (rules === undefined) return this.#later(aor, server, waiting, LEAST_AGAIN_MS);
    const identity = await this.#parts.nameOn(aor, server);
    if (this.#users.get(aor)?.get(server) !== waiting || this.#byTag.size >= MOST_WATCHES) return;
    const { runtime, outbound } = this.#parts;
    const tag = PREFIX + runtime.random.token(TAG_CHARACTERS);
    const parts = {
      runtime,
      outbound,
      pace: this.#pace,
      self: `codomain@${this.#parts.domain()}`,
      said: (watch: RegWatch, registered: Registered | null) => this.#said(watch, registered),
      over: (watch: RegWatch, again: Again) => this.#over(watch, again),
      failed: ({ server }: RegWatch, error: Error) => {
        const what = `a SUBSCRIBE to the registrations at ${server} could not be made`;
        this.#parts.telemetry.emit("warning", { what, detail: error.message });
      },
    };
    waiting.watch = new RegWatch(parts, aor, server, identity, tag);
    this.#byTag.set(tag, waiting.watch);
  }

  #over(watch: RegWatch, again: Again): void {
    watch.stop();
    this.#byTag.delete(watch.tag);
    const waiting = this.#users.get(watch.aor)?.get(watch.server);
    if (waiting === undefined || (waiting.watch !== null && waiting.watch !== watch)) return;
    waiting.watch = null;
    waiting.failures = watch.registered === undefined ? waiting.failures + 1 : 0;
    const asked = typeof again === "object" ? again.afterSeconds * 1000 : 0;
    // A server that does not know the package is asked again all the same, rarely: it may be another tomorrow.
    const own =
      again === "never" ? MOST_AGAIN_MS : LEAST_AGAIN_MS * 2 ** Math.min(Math.max(waiting.failures - 1, 0), 8);
    this.#later(watch.aor, watch.server, waiting, Math.max(asked, Math.min(own, MOST_AGAIN_MS)));
  }

  #later(aor: string, server: string, waiting: Waiting, ms: number): void {
    waiting.timer = this.#parts.runtime.timers.after(ms, () => void this.#begin(aor, server, waiting));
  }

  #said(watch: RegWatch, registered: Registered | null): void {
    const before = watch.registered;
    watch.registered = registered !== null;
    const deed = registered !== null ? this.#claim(watch, registered) : before === true ? this.#unbind(watch) : null;
    // What could not be written is said again with the next document, and runs out at the latest.
    deed?.catch(onlyUnavailable);
  }

  async #claim(watch: RegWatch, { expires, order }: Registered): Promise<void> {
    const { aor, server } = watch;
    const rules = await this.#parts.rules(aor);
    if (rules === null) return;
    const { conflict, damping, graceMs } = rules;
    const expiresAt = this.#parts.runtime.clock.wall() + (expires ?? WATCH_SECONDS) * 1000;
    const claim: Claim = {
      aor,
      server,
      origin: "registered",
      expiresAt: expiresAt + graceMs,
      conflict,
      equalRank: true,
      order: { ...orderOf(watch, order), expiresAt },
      ...(damping === null ? {} : { damping }),
      actor: `server:${server}`,
    };
    const outcome = await this.#parts.directory.claim(claim);
    const { telemetry } = this.#parts;
    if (outcome.outcome === "bound") {
      const { origin, epoch } = outcome.binding;
      telemetry.emit("bound", { aor, server, origin, epoch, changed: outcome.changed });
    } else {
      const holder = outcome.binding?.server ?? null;
      telemetry.emit("refused", { aor, server, holder, reason: outcome.outcome });
    }
  }

  /** As any deregistration: it acts only while that server holds him, and ends all but what was provisioned. */
  async #unbind({ aor, server }: RegWatch): Promise<void> {
    const origins = ["learned", "published", "registered", "admin"] as const;
    await this.#parts.directory.unbind({ aor, server, origins, actor: `server:${server}` });
  }
}

/** Of the REGISTER itself where the server tells it, so that whoever has seen it too makes the same of it. */
function orderOf(watch: RegWatch, order: Registered["order"]): { readonly callId: string; readonly cseq: number } {
  return order ?? { callId: watch.callId, cseq: watch.heard };
}

function onlyUnavailable(error: unknown): undefined {
  if (!(error instanceof DirectoryUnavailable)) throw error;
  return undefined;
}
