import { DirectoryUnavailable } from "../base/errors.ts";
import type { Change, Directory } from "../directory/directory.ts";
import type { Eviction } from "../directory/evictions.ts";
import { meaningOf } from "../federation/answers.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import { buildRequest } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { Outbound, Reply } from "../sip/transaction/outbound.ts";
import type { Telemetry } from "../telemetry/events.ts";

/** What the evictor asks of the program around it. */
export interface EvictorParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "evictions" | "onChange">;
  readonly outbound: Outbound;
  /** Servers with `evict: register`, as they are configured now. */
  readonly servers: () => readonly string[];
  /** Full AoR by which a server knows the user. Never rejects. */
  readonly nameOn: (aor: string, server: string) => string | Promise<string>;
}

/** Between two looks for what is due: new losses of other proxies come by the feed, and this is for what was left over. */
const SWEEP_MS = 5_000;
const BATCH = 32;
/** No longer: a REGISTER that is repeated until the server is up again would meet him who has come back there meanwhile. */
const PATIENCE_MS = 4_000;

/**
 * Tells servers that have lost a user, by a third-party REGISTER (RFC 3261 10.2) that removes his contacts there
 * (10.2.2). What is to be told is in the directory, so that it outlives any proxy; who takes a row has it alone, until it
 * is due again.
 */
export class Evictor {
  readonly #parts: EvictorParts;
  #end: (() => void) | null = null;
  #timer: Timer | null = null;
  #running = false;
  /** A loss came while a look was under way, which may not have seen it. */
  #again = false;

  constructor(parts: EvictorParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#end = this.#parts.directory.onChange((change) => this.#changed(change));
    // What is left of a server that is not told by REGISTER any more goes now, and at no other time.
    void this.#look();
    this.#schedule();
  }

  stop(): void {
    this.#end?.();
    this.#end = null;
    this.#timer?.cancel();
    this.#timer = null;
  }

  #changed(change: Change): void {
    if (change.kind !== "binding" || change.server === null || change.previous === null) return;
    if (change.server !== change.previous && this.#parts.servers().includes(change.previous)) void this.#look();
  }

  #schedule(): void {
    this.#timer = this.#parts.runtime.timers.after(SWEEP_MS, () => {
      if (this.#parts.servers().length > 0) void this.#look();
      this.#schedule();
    });
  }

  async #look(): Promise<void> {
    this.#again = this.#running;
    if (this.#running) return;
    this.#running = true;
    try {
      do {
        this.#again = false;
        const { taken, givenUp } = await this.#parts.directory.evictions.take(BATCH);
        for (const { aor, server, reason } of givenUp) {
          const result = reason === "back" ? "needless" : "failed";
          this.#parts.telemetry.emit("evicted", { aor, server, by: "register", result, detail: reason });
        }
        for (const eviction of taken) this.#tell(eviction).catch((error: Error) => this.#failed(eviction, error));
        if (taken.length === BATCH) this.#again = true;
      } while (this.#again && this.#end !== null);
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
    } finally {
      this.#running = false;
    }
  }

  async #tell(eviction: Eviction): Promise<void> {
    const { aor, server } = eviction;
    if (!this.#parts.servers().includes(server)) return this.#over(eviction, "needless", "no longer configured");
    const name = await this.#parts.nameOn(aor, server);
    const reply = await this.#parts.outbound.toServer(server, () => this.#request(name, aor), {
      timeoutMs: PATIENCE_MS,
    });
    const detail = typeof reply === "string" ? reply : String(reply.status);
    const result = resultOf(reply);
    if (result !== "later") return this.#over(eviction, result, detail);
    this.#parts.telemetry.emit("evicted", { aor, server, by: "register", result, detail });
  }

  /** A name that stands in no message: no other try would change that. */
  #failed(eviction: Eviction, error: Error): void {
    void this.#over(eviction, "failed", error.message);
  }

  async #over(eviction: Eviction, result: "done" | "failed" | "needless", detail: string): Promise<void> {
    const { aor, server } = eviction;
    this.#parts.telemetry.emit("evicted", { aor, server, by: "register", result, detail });
    // Where this cannot be written, it is told once more; that harms nobody while he is not back.
    await this.#parts.directory.evictions.end(eviction).catch(onlyUnavailable);
  }

  /** 10.2.2: `Contact: *` with Expires 0 removes all; a Call-ID of its own, so that nothing orders it (10.3 step 6). */
  #request(name: string, aor: string): SipRequest {
    const { random } = this.#parts.runtime;
    const host = name.slice(name.lastIndexOf("@") + 1);
    return buildRequest({
      method: "REGISTER",
      uri: `sip:${host}`,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `<sip:${aor.slice(aor.lastIndexOf("@") + 1)}>;tag=${random.token(10)}`],
        ["To", `<sip:${name}>`],
        ["Call-ID", random.token(24)],
        ["CSeq", "1 REGISTER"],
        ["Contact", "*"],
        ["Expires", "0"],
      ],
    });
  }
}

/** `later`: the server could not be asked. An answer that no other try would change is a failure to be seen to by people. */
function resultOf(reply: Reply): "done" | "failed" | "later" {
  if (typeof reply === "string") return "later";
  switch (meaningOf(reply.status)) {
    case "here":
    case "not-here":
      return "done";
    case "could-not-ask":
      return "later";
    default:
      return "failed";
  }
}

function onlyUnavailable(error: unknown): void {
  if (!(error instanceof DirectoryUnavailable)) throw error;
}
