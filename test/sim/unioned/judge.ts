import { canonicalForm, compareText } from "../../../src/presence/canonical.ts";
import { parsePidf } from "../../../src/presence/pidf.ts";
import { withoutMark } from "../../../src/presence/source-mark.ts";
import { isElement } from "../../../src/presence/xml.ts";
import type { Shown } from "../exclusive/documents.ts";
import type { Story } from "../exclusive/story.ts";
import type { Seen, Watch, Watcher } from "../exclusive/watcher.ts";

export interface Denied {
  /** Since when some server of the user's denies him, without a break. */
  readonly since: number;
  /** Since when it is able to say so. */
  readonly able: number;
  /**
   * His server, where it asks once for all of his devices: a new one is shown what the others are, which is nothing that is
   * newer than the denial once those who ask have heard of it. Null: each device is asked for.
   */
  readonly sharer: string | null;
  /** A server showed this before he was denied. */
  wasShown(mark: string): boolean;
}

/** What the judge is told of the world. */
export interface Known {
  readonly now: number;
  /** Undefined: he is not denied. */
  deniedSince(user: string, watcher: string): Denied | undefined;
  /** The same user under whatever name a server has for him. */
  canonical(user: string): string;
  /** By when a denial that could be told then has been heard everywhere. @param at when it could be told. */
  heardBy(at: number): number;
  /** More new subscriptions of one pair than this within a second are a storm. */
  readonly mostAtOnce: number;
  mayEnd(watcher: Watcher, watch: Watch): boolean;
  /** The user's servers were changed since it was asked for: it may have ended, for whatever reason but a denial. */
  isOtherwise(watch: Watch): boolean;
  /** He was told to subscribe anew. */
  anew(watcher: Watcher, watch: Watch): void;
}

const OUR_TAG = /^cdm-/;
/** More transactions than this for one request are a loop. */
const MOST_HOPS = 24;
interface DialogSeen {
  cseq: number;
  readonly branches: Set<string>;
}

interface Beginnings {
  /** When each within the last second was sent, milliseconds. */
  readonly at: number[];
  all: number;
}

/**
 * Looks on from outside: at every datagram of the proxies, and at what watchers were shown. It knows the rules (models.md,
 * "Unioned" and "Composition"), and nothing of how they are kept.
 */
export class Judge implements Seen {
  someoneDied = false;
  packets = 0;
  /** SUBSCRIBEs outside dialogs that left proxies. */
  begun = 0;
  /** The most new subscriptions of one pair within a second. */
  burst = 0;
  /** Answers 482 that left proxies. */
  loops = 0;
  /** NOTIFYs with a document that came to watchers. */
  documents = 0;
  readonly #story: Story;
  readonly #known: Known;
  readonly #dialogs = new Map<string, DialogSeen>();
  readonly #hops = new Map<string, Set<string>>();
  readonly #beginnings = new Map<string, Beginnings>();
  readonly #firsts = new Set<string>();
  /** `pair` -> what older devices of a denied watcher were shown. */
  readonly #others = new Map<string, Set<string>>();
  /** `pair` -> where its new subscriptions went. */
  readonly #targets = new Map<string, string[]>();

  constructor(story: Story, known: Known) {
    this.#story = story;
    this.#known = known;
  }

  /** @param to `host:port` */
  left(process: string, bytes: Uint8Array, to: string): void {
    const text = Buffer.from(bytes).toString("latin1");
    if (text.startsWith("SIP/2.0 ")) {
      const status = text.slice(8, 11);
      if (status < "300" || !header(text, "CSeq").endsWith("SUBSCRIBE")) return;
      if (status === "482") this.loops++;
      const user = /<sips?:([^@;>\s]+)@/.exec(header(text, "To"))?.[1] ?? "";
      this.#story.tell(user, `${process}: ${status} to SUBSCRIBE of ${header(text, "From")} from ${to}`);
    } else if (!text.startsWith("OPTIONS ")) this.#request(process, text, to);
  }

  /** How many subscriptions proxies have begun of each pair since the last call, by pair and target. */
  newTargets(): ReadonlyMap<string, readonly string[]> {
    const found = new Map(this.#targets);
    this.#targets.clear();
    return found;
  }

  /** The most new subscriptions of one pair. */
  get most(): number {
    return Math.max(0, ...[...this.#beginnings.values()].map(({ all }) => all));
  }

  shown(watcher: Watcher, watch: Watch, document: Shown): void {
    this.documents++;
    const user = this.#known.canonical(watch.user);
    const denied = this.#known.deniedSince(user, watcher.aor);
    if (denied === undefined) return;
    const marks = marksOf(document.body);
    const pair = `${watcher.aor} ${user}`;
    const { since, able, sharer } = denied;
    // Who had something is told once that there is nothing any more.
    const isLate = this.#known.now > this.#known.heardBy(Math.max(since, able)) && marks.length > 0;
    const isShared = (mark: string): boolean =>
      mark.split(" ")[0] === sharer || denied.wasShown(mark) || this.#others.get(pair)?.has(mark) === true;
    const isNew = watch.begun >= since && !(sharer !== null && marks.every(isShared));
    if (!isNew) this.#others.set(pair, new Set([...(this.#others.get(pair) ?? []), ...marks]));
    if (isNew || isLate) {
      this.#story.wrong(user, `${watch.id} is denied, and is shown ${marks.join(", ") || "a document"}`);
    }
  }

  terminated(watcher: Watcher, watch: Watch, reason: string): void {
    const user = this.#known.canonical(watch.user);
    if (watch.ending) return;
    if (reason === "deactivated") this.#known.anew(watcher, watch);
    if (reason !== "rejected") return;
    if (this.#known.mayEnd(watcher, watch)) return;
    this.#story.wrong(user, `${watch.id} is rejected, and nobody denies him`);
  }

  /** An end may be told by the 481 to his refresh before its NOTIFY comes through (RFC 6665 4.1.2.2). */
  mayEnd(watcher: Watcher, watch: Watch): boolean {
    return this.#known.mayEnd(watcher, watch) || this.#known.isOtherwise(watch);
  }

  #request(process: string, text: string, to: string): void {
    this.packets++;
    const method = text.slice(0, text.indexOf(" "));
    const callId = header(text, "Call-ID");
    const cseq = Number.parseInt(header(text, "CSeq"), 10);
    const branch = /branch=([^;\s,]+)/.exec(header(text, "Via"))?.[1] ?? "";
    const from = tagOf(header(text, "From"));
    const target = tagOf(header(text, "To"));
    const hop = `${callId} ${from} ${target} ${cseq} ${method}`;
    const hops = (this.#hops.get(hop) ?? new Set<string>()).add(`${process} ${branch}`);
    this.#hops.set(hop, hops);
    if (hops.size === MOST_HOPS) this.#story.wrong("", `${hop} went through ${MOST_HOPS} times`);
    // What another proxy made is only passed on, to who has the dialog.
    if (!OUR_TAG.test(from) || (text.match(/^Via[ \t]*:/gim)?.length ?? 0) > 1) return;
    const user = this.#known.canonical(/^\w+ sips?:([^@;>\s]+)@/.exec(text)?.[1] ?? "");
    this.#order(
      `${callId} ${from} ${target} ${method === "NOTIFY" ? "" : to}`,
      cseq,
      branch,
      user,
      `${process}: ${method} ${cseq} in ${from}`,
    );
    if (method === "SUBSCRIBE" && target === "") this.#began(process, text, callId, from, to);
    else if (method === "SUBSCRIBE") this.#story.tell(user, `${process}: refresh ${cseq} in ${from} to ${to}`);
    else if (method === "NOTIFY")
      this.#story.tell(
        this.#userIn(text),
        `${process}: NOTIFY ${cseq} ${header(text, "Subscription-State")} in ${from} to ${to} ${marksOf(text).join(", ")}`,
      );
  }

  #userIn(text: string): string {
    return this.#known.canonical(/<sips?:([^@;>\s]+)@/.exec(header(text, "From"))?.[1] ?? "");
  }

  /** RFC 3261 12.2.1.1. */
  #order(dialog: string, cseq: number, branch: string, user: string, what: string): void {
    const seen = this.#dialogs.get(dialog);
    if (seen?.branches.has(branch)) return;
    if (seen !== undefined && cseq <= seen.cseq) this.#story.wrong(user, `${what}, after ${seen.cseq}`);
    const branches = (seen?.branches ?? new Set<string>()).add(branch);
    this.#dialogs.set(dialog, { cseq: Math.max(cseq, seen?.cseq ?? 0), branches });
  }

  #began(process: string, text: string, callId: string, from: string, to: string): void {
    const first = `${callId} ${from} ${to}`;
    if (this.#firsts.has(first)) return;
    this.#firsts.add(first);
    const watcher =
      /<?sips?:([^@;>\s]+@[^;>\s]+)/.exec(header(text, "P-Asserted-Identity") || header(text, "From"))?.[1] ?? "";
    const user = this.#known.canonical(/^\w+ sips?:([^@;>\s]+)@/.exec(text)?.[1] ?? "");
    this.#story.tell(user, `${process}: SUBSCRIBE for ${watcher} to ${to} (${from})`);
    this.begun++;
    const pair = `${watcher} ${user}`;
    this.#targets.set(pair, [...(this.#targets.get(pair) ?? []), to]);
    const beginnings = this.#beginnings.get(pair) ?? { at: [], all: 0 };
    this.#beginnings.set(pair, beginnings);
    beginnings.all++;
    const { at } = beginnings;
    at.push(this.#known.now);
    while (this.#known.now - at[0]! >= 1_000) at.shift();
    this.burst = Math.max(this.burst, at.length);
    if (at.length <= this.#known.mostAtOnce) return;
    at.length = 0;
    this.#story.wrong(user, `${this.#known.mostAtOnce} subscriptions of ${pair} were begun within a second`);
  }
}

/** `server serial` of every part of a document, in its order. */
export function marksOf(body: string): string[] {
  return Array.from(
    body.matchAll(/<(?:\w+:)?note[^>]*>(\w+) (\d+)<\//g),
    ([, server, serial]) => `${server} ${serial}`,
  );
}

/** What a document says, whoever composed it in whatever order: equal for equal contents. */
export function contentsOf(body: string): string {
  const elements = parsePidf(body).children.filter(isElement);
  return elements
    .map((each) => canonicalForm(withoutMark(each).element))
    .sort(compareText)
    .join("\n");
}

function tagOf(value: string): string {
  return /;\s*tag=([^;\s>]+)/.exec(value)?.[1] ?? "";
}

function header(text: string, name: string): string {
  return new RegExp(`^${name}[ \\t]*:[ \\t]*([^\\r\\n]*)`, "im").exec(text)?.[1] ?? "";
}
