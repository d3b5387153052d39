import { createHash } from "node:crypto";
import { DirectoryUnavailable } from "../base/errors.ts";
import type { Change, Directory, Lookup, UserRecord } from "../directory/directory.ts";
import type { Push, PushEnd } from "../directory/pushes.ts";
import { MalformedDocument } from "../presence/xml.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import type { Telemetry } from "../telemetry/events.ts";
import { type Expression, namedIn, reduceRules } from "./reduce.ts";
import { MOST_PUSH_MS, XcapClient, type XcapServer } from "./xcap-client.ts";

/** A server that keeps its users' rules by itself, and takes them from us. */
export interface ProvisionedServer extends XcapServer {
  readonly expresses: readonly Expression[];
}

export interface PusherParts {
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random" | "network">;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "onChange" | "documents" | "pushes" | "users">;
  /** As they are now. */
  readonly servers: () => readonly ProvisionedServer[];
  /** Domains whose way is `central`, as they are now. */
  readonly domains: () => readonly string[];
  /** All domains served: whose users a server may know by other names. */
  readonly ownDomains: () => readonly string[];
  /** Rejects with DirectoryUnavailable where nobody knows. */
  readonly lookup: (aor: string) => Promise<Lookup>;
  /** The servers he is on. */
  readonly serversOf: (aor: string, lookup: Lookup) => readonly string[];
  readonly nameOn: (aor: string, server: string, record: UserRecord | null) => string;
}

export interface PusherOptions {
  /** How often what is due is looked for. */
  readonly pollMs: number;
  /** Pushes a second, and under way, at most. */
  readonly rate: number;
  readonly inFlight: number;
  /** From one look at all documents to the next. */
  readonly sweepMs: number;
  readonly firstRetryMs: number;
  readonly mostRetryMs: number;
}

export const PUSHER_OPTIONS: PusherOptions = {
  pollMs: 1000,
  rate: 50,
  inFlight: 8,
  sweepMs: 3_600_000,
  firstRetryMs: 5000,
  mostRetryMs: 900_000,
};

/** Longer than any push may take: nobody else brings the same rules meanwhile. */
const LEASE_MS = 3 * MOST_PUSH_MS;
const PAGE = 100;
/** Users of whom something changed and nobody has looked yet; more: all are looked at. */
const MOST_CHANGED = 10_000;
/** Looked at in one turn, so that others get theirs. */
const LOOKS = 100;

/**
 * Brings users' rules to the servers they are on (models.md, "central provisioning"). What is wanted stands in the
 * database, whoever noticed the change; any proxy brings it, one at a time for each user and server. What the feed may have
 * missed is found by going through all documents at start, when the configuration changes, and now and then.
 */
export class Pusher {
  readonly #parts: PusherParts;
  readonly #options: PusherOptions;
  readonly #client: XcapClient;
  readonly #changed = new Set<string>();
  #sweepFrom: string | null = null;
  #sweepAt = 0;
  /** There are rows, or were. */
  #keeps = false;
  #timer: Timer | null = null;
  #running = false;
  #turn: Promise<void> | null = null;
  #again = false;
  #ends: (() => void)[] = [];

  constructor(parts: PusherParts, options: PusherOptions = PUSHER_OPTIONS) {
    this.#parts = parts;
    this.#options = options;
    this.#client = new XcapClient(parts.runtime.network.http({ connections: options.inFlight }), parts.runtime.random);
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#sweepFrom = "";
    this.#ends = [
      this.#parts.directory.onChange((change) => this.#heard(change)),
      this.#parts.telemetry.on("configReloaded", () => this.sweep()),
    ];
    this.wake();
  }

  async stop(): Promise<void> {
    this.#running = false;
    for (const end of this.#ends.splice(0)) end();
    this.#timer?.cancel();
    this.#timer = null;
    this.#client.close();
    await this.#turn;
  }

  /** Everybody's rules are compared with what was pushed, from the first to the last. */
  sweep(): void {
    this.#sweepFrom = "";
    this.wake();
  }

  /** There may be something to do. */
  wake(): void {
    if (!this.#running) return;
    this.#again = true;
    this.#turn ??= this.#run().finally(() => {
      this.#turn = null;
    });
  }

  #heard(change: Change): void {
    if (change.kind === "reset") return this.sweep();
    if (change.kind !== "user" && change.kind !== "binding" && change.kind !== "document") return;
    if (change.kind === "document" && change.document !== "pres-rules") return;
    // Where he is no more his rules stay as they were pushed last; a change finds him there too.
    if (change.kind === "binding" && (change.server === null || !this.#isProvisioned(change.server))) return;
    if (!this.#isCentral(change.aor)) return;
    if (this.#changed.size >= MOST_CHANGED) {
      this.#sweepFrom ??= "";
      return;
    }
    this.#changed.add(change.aor);
    this.wake();
  }

  #isProvisioned(server: string): boolean {
    return this.#parts.servers().some((each) => each.name === server);
  }

  #isCentral(aor: string): boolean {
    return this.#parts.domains().includes(aor.slice(aor.lastIndexOf("@") + 1));
  }

  async #run(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
    let busy = false;
    try {
      while (this.#again && this.#running) {
        this.#again = false;
        await this.#look();
        busy = await this.#push();
      }
    } catch (error) {
      this.#report(error);
    }
    if (!this.#running) return;
    // What is more than a second's worth waits for the next.
    const rest = this.#isIdle() ? this.#options.sweepMs : this.#options.pollMs;
    const wait = busy || this.#sweepFrom !== null || this.#changed.size > 0 ? 1000 : rest;
    this.#timer = this.#parts.runtime.timers.after(wait, () => this.wake());
  }

  /** Nobody's rules are pushed, and none ever were. */
  #isIdle(): boolean {
    return !this.#keeps && this.#parts.servers().length === 0 && this.#parts.domains().length === 0;
  }

  /** Writes down what is wanted, of some of those who changed and of a page of all. */
  async #look(): Promise<void> {
    for (const aor of [...this.#changed].slice(0, LOOKS)) {
      await this.#want(aor);
      this.#changed.delete(aor);
    }
    const now = this.#parts.runtime.clock.now();
    if (this.#sweepFrom === null) {
      if (now < this.#sweepAt) return;
      this.#sweepFrom = "";
    }
    const { documents, pushes } = this.#parts.directory;
    const after = this.#sweepFrom;
    const [rules, rows] = await Promise.all([
      this.#parts.domains().length === 0 ? [] : documents.list({ kind: "pres-rules", after, limit: PAGE }),
      pushes.list({ after: { aor: after, server: "\u{10ffff}" }, limit: PAGE }),
    ]);
    if (rows.length > 0) this.#keeps = true;
    // Both lists go on behind the last user whom both have told of.
    const ends = [rules, rows].filter((each) => each.length === PAGE).map((each) => each.at(-1)!.aor);
    const until = ends.sort()[0] ?? null;
    const found = new Set([...rules, ...rows].map((each) => each.aor).filter((aor) => until === null || aor <= until));
    for (const aor of [...found].sort()) await this.#want(aor);
    if (this.#sweepFrom !== after) return;
    this.#sweepFrom = until;
    if (until === null) this.#sweepAt = now + this.#options.sweepMs;
  }

  async #want(aor: string): Promise<void> {
    const { directory, lookup, serversOf } = this.#parts;
    const document = this.#isCentral(aor) ? await directory.documents.get(aor, "pres-rules") : null;
    if (document === null) return directory.pushes.want(aor, [], "");
    const known = await lookup(aor);
    const servers = serversOf(aor, known).filter((each) => this.#isProvisioned(each));
    await directory.pushes.want(aor, servers, await this.#tagOf(document.etag, document.text, known));
  }

  /** Another one wherever another document would be pushed. */
  async #tagOf(etag: string, text: string, known: Lookup): Promise<string> {
    const names = [...(await this.#recordsIn(text))].flatMap(([aor, record]) =>
      record === null ? [] : [[aor, record.identities]],
    );
    const own = "user" in known ? known.user?.identities : null;
    const servers = this.#parts.servers().map(({ name, url, expresses }) => [name, url, expresses]);
    return createHash("sha256")
      .update(JSON.stringify([etag, servers, own ?? null, names]))
      .digest("base64url");
  }

  /** Of our own users whom the rules name. */
  async #recordsIn(text: string): Promise<ReadonlyMap<string, UserRecord | null>> {
    const records = new Map<string, UserRecord | null>();
    for (const identity of readable(text, namedIn) ?? []) {
      if (!this.#parts.ownDomains().includes(identity.slice(identity.lastIndexOf("@") + 1))) continue;
      const known = await this.#parts.lookup(identity);
      records.set(identity, "user" in known ? known.user : null);
    }
    return records;
  }

  /** True: there may be more that is due. */
  async #push(): Promise<boolean> {
    const { directory, runtime } = this.#parts;
    const began = runtime.clock.now();
    let done = 0;
    while (this.#running && done < this.#options.rate) {
      const most = Math.min(this.#options.inFlight, this.#options.rate - done);
      const taken = await directory.pushes.take(most, LEASE_MS);
      await Promise.all(taken.map((each) => this.#bring(each)));
      done += taken.length;
      if (taken.length < most) return false;
      if (runtime.clock.now() - began > 1000) return true;
    }
    return true;
  }

  async #bring(push: Push): Promise<void> {
    let end: PushEnd;
    try {
      end = await this.#endOf(push);
    } catch (error) {
      this.#report(error);
      end = this.#failed(push, "The rules could not be read.", false);
    }
    const error = end.end === "failed" ? end.error : "";
    const reductions = end.end === "pushed" ? end.reductions.length : 0;
    this.#parts.telemetry.emit("push", { aor: push.aor, server: push.server, outcome: end.end, reductions, error });
    // Not told, it is due again when the lease has lapsed.
    await this.#parts.directory.pushes.end(push, end).catch((reason: unknown) => this.#report(reason));
  }

  async #endOf(push: Push): Promise<PushEnd> {
    const { directory, nameOn, ownDomains, lookup } = this.#parts;
    const { aor } = push;
    const server = this.#parts.servers().find((each) => each.name === push.server);
    if (server === undefined) return { end: "removed" };
    const document = push.wanted === "" ? null : await directory.documents.get(aor, "pres-rules");
    const known = await lookup(aor);
    const name = nameOn(aor, server.name, "user" in known ? known.user : null);
    if (document === null) {
      const gone = await this.#client.store(server, name, null);
      if (!gone.stored) return this.#failed(push, gone.error, gone.lasting);
      return push.wanted === "" ? { end: "removed" } : { end: "pushed", reductions: [] };
    }
    const records = await this.#recordsIn(document.text);
    const reduced = readable(document.text, (text) =>
      reduceRules(text, {
        expresses: server.expresses,
        domains: ownDomains(),
        nameOf: (identity) =>
          records.has(identity) ? nameOn(identity, server.name, records.get(identity) ?? null) : identity,
      }),
    );
    if (reduced === null) return this.#failed(push, "The rules cannot be read.", true);
    const stored = await this.#client.store(server, name, reduced.text);
    if (!stored.stored) return this.#failed(push, stored.error, stored.lasting);
    return { end: "pushed", reductions: reduced.reductions };
  }

  #failed({ tries }: Push, error: string, lasting: boolean): PushEnd {
    const { firstRetryMs, mostRetryMs } = this.#options;
    const retryMs = lasting ? mostRetryMs : Math.min(firstRetryMs * 2 ** Math.min(tries - 1, 16), mostRetryMs);
    return { end: "failed", error, retryMs };
  }

  #report(error: unknown): void {
    // The database says for itself that it is away.
    if (error instanceof DirectoryUnavailable) return;
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#parts.telemetry.emit("warning", { what: "Provisioning failed", detail });
  }
}

/** Null: nobody can read it. */
function readable<T>(text: string, read: (text: string) => T): T | null {
  try {
    return read(text);
  } catch (error) {
    if (error instanceof MalformedDocument) return null;
    throw error;
  }
}
