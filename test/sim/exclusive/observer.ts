import { createHash } from "node:crypto";
import type { Slot } from "../../../src/directory/judge.ts";
import type { MemoryDatabase } from "../../../src/directory/memory.ts";
import { readDocument, type Shown } from "./documents.ts";
import type { Stay } from "./server.ts";
import type { Story } from "./story.ts";
import type { Seen, Watch, Watcher } from "./watcher.ts";

/** What is known of a server that shows users. */
export interface Shower {
  /** `host:port` */
  readonly host: string;
  /** When it made its how-manieth document about the user. */
  madeAt(user: string, serial: number): number;
}

interface RowSeen {
  readonly owner: string;
  readonly fence: number;
  readonly aor: string;
}

/** What was last seen of one dialog of the proxies'. */
interface DialogSeen {
  cseq: number;
  /** Transactions: what is sent again is not judged again. */
  readonly branches: Set<string>;
}

const OUR_TAG = /^cdm-/;
/** More transactions than this for one request are a loop. */
const MOST_HOPS = 24;

/**
 * Looks on from outside: at every datagram of the proxies, at the rows as they are committed, and at what watchers were
 * shown. It knows the rules (models.md, "Exclusive"; concurrency.md 7), and nothing of how they are kept.
 */
export class Observer implements Seen {
  readonly #database: MemoryDatabase;
  readonly #story: Story;
  readonly #server: (name: string) => Shower;
  readonly #now: () => number;
  /** Which process opened a lease: `host#run`. */
  readonly #owners = new Map<string, string>();
  readonly #stays = new Map<string, Stay[]>();
  /** By watch: the earliest epoch that the last document shown can be of, and each server's last number. */
  readonly #places = new Map<string, { epoch: number; readonly serials: Map<string, number> }>();
  readonly #dialogs = new Map<string, DialogSeen>();
  /** By subscription: where a leg was last begun, and when. */
  readonly #begun = new Map<string, { readonly host: string; readonly at: number }>();
  readonly #senders = new Map<string, Map<number, string>>();
  readonly #finals = new Map<string, string>();
  readonly #hops = new Map<string, Set<string>>();
  /** `user watcher` -> servers that refuse him. */
  readonly #denied: (user: string, watcher: string) => boolean;
  /** Requests seen to leave proxies. */
  packets = 0;
  someoneDied = false;

  constructor(
    database: MemoryDatabase,
    story: Story,
    now: () => number,
    denied: (user: string, watcher: string) => boolean,
    server: (name: string) => Shower,
  ) {
    this.#server = server;
    this.#database = database;
    this.#story = story;
    this.#now = now;
    this.#denied = denied;
    database.onCommit(() => this.#committed());
  }

  opened(owner: string, process: string): void {
    this.#owners.set(owner, process);
    this.#story.tell("", `${process}: lease ${owner}`);
  }

  stays(user: string): readonly Stay[] {
    return this.#stays.get(user) ?? [];
  }

  /** Where he is, and what epoch that is. */
  present(user: string): Stay {
    return this.#stays.get(user)?.at(-1) ?? { epoch: 0, server: null, origin: null };
  }

  #committed(): void {
    for (const [aor, value] of this.#database.rows("slots")) {
      const user = aor.split("@")[0] as string;
      const { epoch, server, origin } = value as Slot;
      const stays = this.#stays.get(user) ?? [];
      const last = stays.at(-1);
      if (last?.epoch === epoch && last.server === server) continue;
      this.#story.tell(user, `--- bound to ${server ?? "nobody"}, epoch ${epoch}`);
      if (last !== undefined && epoch <= last.epoch) {
        const was = `${last.server} in epoch ${last.epoch}`;
        this.#story.wrong(user, `bound to ${server} in epoch ${epoch}, after ${was}`);
      }
      // A binding that expired counted as none before it was swept.
      if (last !== undefined && epoch > last.epoch + 1) stays.push({ epoch: epoch - 1, server: null, origin: null });
      this.#stays.set(user, stays);
      stays.push({ epoch, server, origin });
    }
  }

  shown(watcher: Watcher, watch: Watch, document: Shown): void {
    const { user, id } = watch;
    if (document.entity !== `${user}@example.com`) {
      this.#story.wrong(user, `${id} was shown a document about ${document.entity}`);
    }
    const place = this.#places.get(id) ?? { epoch: 0, serials: new Map<string, number>() };
    this.#places.set(id, place);
    const { server, serial } = document;
    if (server === null) {
      if (document.open) this.#story.wrong(user, `${id} was shown an open document of the proxy's own`);
      return;
    }
    const stay = (this.#stays.get(user) ?? []).find((each) => each.epoch >= place.epoch && each.server === server);
    if (stay === undefined) {
      this.#story.wrong(user, `${id} was shown ${server} ${serial}, older than epoch ${place.epoch} that he had seen`);
    } else place.epoch = stay.epoch;
    const last = place.serials.get(server) ?? 0;
    if (serial < last) this.#story.wrong(user, `${id} was shown ${server} ${serial} after ${server} ${last}`);
    place.serials.set(server, Math.max(last, serial));
    if (this.#denied(`${user}@${server}`, watcher.aor)) {
      this.#story.wrong(user, `${id} was shown ${server} ${serial}, which denies him`);
    }
  }

  terminated(watcher: Watcher, watch: Watch, reason: string): void {
    const { user, id } = watch;
    const asked = watch.ending && reason === "timeout";
    const expired = this.#now() >= watch.until - 1_000 && reason === "timeout";
    const denied = reason === "rejected" && this.#deniedSomewhere(user, watcher.aor);
    if (!asked && !expired && !denied) this.#story.wrong(user, `${id} saw terminated;reason=${reason}`);
  }

  mayEnd(watcher: Watcher, watch: Watch): boolean {
    return this.#deniedSomewhere(watch.user, watcher.aor);
  }

  #deniedSomewhere(user: string, watcher: string): boolean {
    return (this.#stays.get(user) ?? []).some((stay) => this.#denied(`${user}@${stay.server}`, watcher));
  }

  /**
   * Who has asked the next server knows of the newer epoch: what the one before it makes from then on is not shown. What it
   * made before may be under way to the watcher still.
   */
  #notified(user: string, id: string, what: string, text: string): void {
    const begun = this.#begun.get(id);
    const { server, serial } = readDocument(text.slice(text.indexOf(BODY) + BODY.length)) ?? NONE;
    if (server === null || begun === undefined) return;
    const { host, madeAt } = this.#server(server);
    if (host !== begun.host && madeAt(user, serial) > begun.at)
      this.#story.wrong(user, `${what} shows ${server}, though ${begun.host} was asked`);
  }

  #row(id: string): RowSeen | undefined {
    return this.#database.rows("subscriptions").find(([key]) => key === id)?.[1] as RowSeen | undefined;
  }

  /** A datagram of the proxy that runs as `process`. */
  left(process: string, bytes: Uint8Array, to: string): void {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    if (text.startsWith("SIP/2.0 ")) this.#response(process, text, to);
    else if (text.startsWith("OPTIONS ")) return;
    else this.#request(process, text, to);
  }

  /** RFC 3261 17.2.2: to one request one final answer, however often it is sent. */
  #response(process: string, text: string, to: string): void {
    const status = Number(text.slice(8, 11));
    if (status < 200) return;
    const via = /^(?:Via|v)[ \t]*:[ \t]*([^\r\n,]*)/im.exec(text)?.[1] ?? "";
    const branch = /branch=([^;\s]+)/.exec(via)?.[1] ?? "";
    const method = /^CSeq[ \t]*:[ \t]*(\d+ \w+)/im.exec(text)?.[1] ?? "";
    if (method.endsWith("INVITE")) return;
    const key = `${process} ${to} ${branch} ${method}`;
    const what = `${status} ${createHash("md5").update(text).digest("hex")}`;
    const first = this.#finals.get(key);
    if (first === undefined) {
      this.#finals.set(key, what);
      if (status < 300 && method.endsWith(" SUBSCRIBE")) this.#accepted(process, text);
    } else if (first !== what) {
      this.#story.wrong("", `${process} answered ${method} of ${to} twice: ${first.slice(0, 3)}, then ${status}`);
    }
  }

  /** What is accepted is durable. */
  #accepted(process: string, text: string): void {
    const tag = /tag=([^;\s>]+)/.exec(header(text, "To"))?.[1] ?? "";
    if (!OUR_TAG.test(tag) || asksForEnd(text) || this.#row(tag) !== undefined) return;
    this.#story.wrong("", `${process} accepted a SUBSCRIBE (${tag}) of which there is no row`);
  }

  #request(process: string, text: string, target: string): void {
    this.packets++;
    const method = text.slice(0, text.indexOf(" "));
    const callId = header(text, "Call-ID");
    const cseq = Number.parseInt(header(text, "CSeq"), 10);
    const branch = /branch=([^;\s,]+)/.exec(header(text, "Via"))?.[1] ?? "";
    const from = /tag=([^;\s>]+)/.exec(header(text, "From"))?.[1] ?? "";
    const to = /tag=([^;\s>]+)/.exec(header(text, "To"))?.[1] ?? "";
    const hops = this.#hops.get(`${callId} ${from} ${cseq} ${method}`) ?? new Set();
    this.#hops.set(`${callId} ${from} ${cseq} ${method}`, hops.add(`${process} ${branch}`));
    if (hops.size === MOST_HOPS) this.#story.wrong("", `${method} ${callId} ${cseq} went through ${MOST_HOPS} times`);
    if (!OUR_TAG.test(from)) return;
    const id = from.split(".")[0] as string;
    const dialog = `${callId} ${from} ${method === "NOTIFY" ? to : ""}`;
    const seen = this.#dialogs.get(dialog);
    if (seen?.branches.has(branch)) return;
    const row = this.#row(id);
    const user = row?.aor.split("@")[0] ?? "";
    const what = `${process}: ${method} ${cseq} in ${from}`;
    this.#story.tell(user, `${what}${row === undefined ? ", of which there is no row" : `, fence ${row.fence}`}`);
    if (seen !== undefined && cseq <= seen.cseq) this.#story.wrong(user, `${what}, after ${seen.cseq}`);
    const branches = (seen?.branches ?? new Set()).add(branch);
    this.#dialogs.set(dialog, { cseq: Math.max(cseq, seen?.cseq ?? 0), branches });
    if (method === "NOTIFY") this.#notified(user, id, what, text);
    else if (to === "" && !asksForEnd(text)) this.#begun.set(id, { host: target, at: this.#now() });
    if (row === undefined) {
      const ends = method === "NOTIFY" ? /^terminated/.test(header(text, "Subscription-State")) : asksForEnd(text);
      if (!ends) this.#story.wrong(user, `${what}, of which there is no row`);
      return;
    }
    const owner = this.#owners.get(row.owner);
    if (owner !== process) this.#story.wrong(user, `${what}, which ${owner} owns (fence ${row.fence})`);
    const senders = this.#senders.get(id) ?? new Map<number, string>();
    this.#senders.set(id, senders);
    const sender = senders.get(row.fence);
    if (sender !== undefined && sender !== process) {
      this.#story.wrong(user, `${what} under fence ${row.fence}, as ${sender} had`);
    }
    senders.set(row.fence, process);
  }
}

const NONE = { server: null, serial: 0 };
const BODY = "\r\n\r\n";

function asksForEnd(text: string): boolean {
  return header(text, "Expires") === "0";
}

function header(text: string, name: string): string {
  return new RegExp(`^${name}[ \\t]*:[ \\t]*([^\\r\\n]*)`, "im").exec(text)?.[1] ?? "";
}
