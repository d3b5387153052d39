import type { Address, Runtime } from "../runtime/runtime.ts";
import { buildRequest, type HeaderPair } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { Watch, Watches } from "./watches.ts";

/** Where a server sends subscriptions on to, as the draft says ("Unioned", "Routing"). */
export interface OnwardRules {
  /**
   * How many back-end subscriptions it makes for one that it was sent: `own` is of its own user's device, `asked` came from
   * the proxy. None: it answers with what it has.
   */
  readonly legs: (user: string, from: "own" | "asked") => number;
  /** Who is the proxy: what comes from any of these is `asked`. */
  readonly proxies: readonly Address[];
  /** Where back-end subscriptions go; default: where all that this server sends goes. */
  readonly to?: (from: "own" | "asked") => Address;
  /** Session-ID (RFC 7989) and what Contact says of the instance are passed on; default: they are its own. */
  readonly passes?: boolean;
  /** Back-end subscriptions are its own in From, too: who watches stands in P-Asserted-Identity only. */
  readonly asItself?: boolean;
  /** It drops what it does not know from documents: the marks of their sources. */
  readonly dropsMarks?: boolean;
  /** Of back-end subscriptions, seconds; default 600. */
  readonly expires?: number;
}

/** What the others say of a user, for one watcher. */
export interface BackEnd {
  /**
   * `waiting`: somebody has not confirmed yet, so nothing may be shown (draft, "Distributed Provisioning": no notifications
   * until downstream subscriptions are confirmed). `denied`: somebody denied him.
   */
  readonly state: "waiting" | "told" | "denied";
  readonly documents: readonly string[];
  /** Asks those again without whom it went on: what was a loop may be none any more. */
  again(): void;
  end(): void;
}

interface Leg {
  watch: Watch | undefined;
  /** `out`: proceeds without it, as after 482. */
  state: BackEnd["state"] | "out";
  document: string;
  /** Somebody is being asked, or has answered. */
  open: boolean;
}

const UNCONFIRMED: BackEnd = { state: "waiting", documents: [], again: () => {}, end: () => {} };

interface Shared {
  readonly back: BackEnd;
  readonly told: Set<() => void>;
}

/** Not the user's: answers after which a server goes on without that input (draft, "Peer Model", "Routing": 482). */
const OUT: ReadonlySet<number> = new Set([404, 405, 406, 410, 415, 482, 489, 501, 604]);
const DENIED: ReadonlySet<number> = new Set([401, 403, 407, 600, 603]);

/** The subscriber's side of a server that asks others on behalf of who asked it (RFC 3325 for his name). */
export class Onward {
  readonly #runtime: Runtime;
  readonly #uri: string;
  readonly #rules: OnwardRules;
  readonly #name: string;
  readonly #domain: string;
  readonly #watches: Watches;
  /** One for all devices of one of its own watchers; by `watcher user`. */
  readonly #shared = new Map<string, Shared>();

  constructor(
    runtime: Runtime,
    self: { readonly uri: string; readonly name: string; readonly domain: string },
    watches: Watches,
    rules: OnwardRules,
  ) {
    this.#runtime = runtime;
    this.#uri = self.uri;
    this.#name = self.name;
    this.#domain = self.domain;
    this.#watches = watches;
    this.#rules = rules;
  }

  get dropsMarks(): boolean {
    return this.#rules.dropsMarks === true;
  }

  /**
   * @param request the SUBSCRIBE that triggers it.
   * @param changed state or documents are other than before.
   * @returns undefined: nobody else is asked.
   */
  begin(request: SipRequest, user: string, watcher: string, changed: () => void): BackEnd | undefined {
    const from = this.#isProxy(request) ? "asked" : "own";
    const count = this.#rules.legs(user, from);
    if (count === 0) return undefined;
    // Nobody waits for the answer to a look, so nobody has confirmed it.
    if (request.expires === 0) return UNCONFIRMED;
    // What tells devices apart is passed on, so each has its own; else they would take each other for loops.
    if (from === "asked" || this.#rules.passes === true)
      return this.#back(request, user, watcher, from, count, changed);
    const key = `${watcher} ${user}`;
    const shared =
      this.#shared.get(key) ?? this.#share(key, (told) => this.#back(request, user, watcher, from, count, told));
    shared.told.add(changed);
    const end = (): void => {
      if (!shared.told.delete(changed) || shared.told.size > 0) return;
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
      shared.back.end();
    };
    return {
      get state() {
        return shared.back.state;
      },
      get documents() {
        return shared.back.documents;
      },
      again: () => shared.back.again(),
      end,
    };
  }

  /** What is shared is forgotten with the dialogs. */
  forget(): void {
    this.#shared.clear();
  }

  #share(key: string, ask: (changed: () => void) => BackEnd): Shared {
    const told = new Set<() => void>();
    const back = ask(() => {
      for (const each of [...told]) each();
    });
    const shared = { back, told };
    this.#shared.set(key, shared);
    return shared;
  }

  #back(
    request: SipRequest,
    user: string,
    watcher: string,
    from: "own" | "asked",
    count: number,
    changed: () => void,
  ): BackEnd {
    const legs = Array.from(
      { length: count },
      (): Leg => ({ watch: undefined, state: "waiting", document: "", open: false }),
    );
    for (const leg of legs) this.#ask(leg, request, user, watcher, from, changed);
    return {
      get state() {
        const states = legs.map(({ state }) => state);
        return states.includes("denied") ? "denied" : states.includes("waiting") ? "waiting" : "told";
      },
      get documents() {
        return legs.flatMap(({ document }) => (document === "" ? [] : [document]));
      },
      again: () => {
        // What came from the proxy is asked about when the proxy asks.
        const out = from === "own" ? legs.filter(({ open }) => !open) : [];
        for (const leg of out) this.#ask(leg, request, user, watcher, from, changed);
      },
      end: () => {
        for (const leg of legs) void leg.watch?.refresh(0);
      },
    };
  }

  #ask(leg: Leg, request: SipRequest, user: string, watcher: string, from: "own" | "asked", changed: () => void): void {
    const { to } = this.#rules;
    leg.open = true;
    const become = (state: Leg["state"], document = leg.document): void => {
      leg.open = state === "waiting" || state === "told";
      if (leg.state === state && leg.document === document) return;
      leg.state = state;
      leg.document = document;
      changed();
    };
    leg.watch = this.#watches.begin(() => this.#subscribe(request, user, watcher), {
      expires: this.#rules.expires ?? 600,
      keep: true,
      again: true,
      ...(to === undefined ? {} : { to: () => to(from) }),
      heard: ({ state, document }) => {
        if (state.startsWith("active")) become("told", document);
        else if (!state.startsWith("terminated")) return;
        else if (state.includes("rejected")) become("denied", "");
        else if (state.includes("noresource")) become("out", "");
        // It is asked for anew, and until that is confirmed nothing is known.
        else become("waiting", "");
      },
      refused: (status) => {
        if (DENIED.has(status)) become("denied", "");
        else if (OUT.has(status)) become("out", "");
        else return "again";
        return "enough";
      },
    });
  }

  #subscribe(request: SipRequest, user: string, watcher: string): SipRequest {
    const { random } = this.#runtime;
    const target = `sip:${user}@${this.#domain}`;
    const from = this.#rules.asItself === true ? `sip:${this.#name}@${this.#domain}` : watcher;
    const { passes = false } = this.#rules;
    const headers: HeaderPair[] = [
      ["Max-Forwards", String(Math.max(0, (request.maxForwards ?? 70) - 1))],
      ["From", `<${from}>;tag=${random.token(10)}`],
      ["To", `<${target}>`],
      ["Call-ID", random.token(16)],
      ["CSeq", "1 SUBSCRIBE"],
      ["Contact", `<${this.#uri}>${passes ? instanceOf(request) : ""}`],
      ["P-Asserted-Identity", `<${watcher}>`],
      ["Session-ID", passes ? (request.header("Session-ID") ?? ownSession(random)) : ownSession(random)],
      ["Event", "presence"],
      ["Accept", "application/pidf+xml"],
      ["Expires", String(this.#rules.expires ?? 600)],
    ];
    return buildRequest({ method: "SUBSCRIBE", uri: target, headers });
  }

  #isProxy(request: SipRequest): boolean {
    const via = request.vias[0];
    return this.#rules.proxies.some(({ host, port }) => via?.host === host && (via.port ?? 5060) === port);
  }
}

/** RFC 7989: a UUID of this side, and none of the other yet. */
function ownSession(random: Runtime["random"]): string {
  const hex = Array.from({ length: 32 }, () => random.integer(16).toString(16)).join("");
  return `${hex};remote=${"0".repeat(32)}`;
}

function instanceOf(request: SipRequest): string {
  const instance = /;\s*\+sip\.instance="[^"]*"/i.exec(request.header("Contact") ?? "")?.[0];
  return instance ?? "";
}
