import { answeringDialog, contactOf, type Dialog, dialogKey, inDialog, requestKey } from "../../../src/demo/dialog.ts";
import type { Timer } from "../../../src/runtime/runtime.ts";
import type { Simulation } from "../../../src/runtime/simulated.ts";
import { buildRequest, buildResponse, type HeaderPair } from "../../../src/sip/message/build.ts";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import type { ServerTransaction } from "../../../src/sip/transaction/transaction.ts";
import type { Client } from "../../support/world.ts";
import { makeDocument } from "./documents.ts";
import type { Story } from "./story.ts";

/** A dialog in which it notifies. */
interface Leg {
  readonly user: string;
  readonly watcher: string;
  readonly dialog: Dialog;
  /** Of the last document the other side has confirmed. */
  confirmed: number;
  until: number;
  state: "pending" | "active";
  expiry: Timer;
  again: Timer;
  acks: number;
}

/** Its REGISTERs for one user, of one Call-ID. */
interface Registration {
  readonly callId: string;
  cseq: number;
  /** Until when it was granted, as far as is known; 0: it was not, or was ended, or nobody knows. */
  until: number;
}

/** Where a user was in one epoch, and by whose word. */
export interface Stay {
  readonly epoch: number;
  readonly server: string | null;
  readonly origin: string | null;
}

/** What is asked of who knows where users are. */
export interface Whereabouts {
  /** Where he was in each epoch, the last being now. */
  stays(user: string): readonly Stay[];
}

const NEVER: Timer = { cancel: () => undefined };
const AGAIN_MS = 4_000;
/** Short, so that a server that has forgotten its dialogs is found out within a small world's life. */
const LONGEST = 80;

export interface ServerRules {
  /** Its word for a user: the user part. */
  readonly identities: Readonly<Record<string, string>>;
  /** Watchers it refuses, by the user they want to see: `user watcher`. */
  readonly denies: ReadonlySet<string>;
  /** Answers 404 for who is not logged in here; else it shows him closed. */
  readonly strict: boolean;
  /** Accepts with 202 and `pending`, and says yes a moment later. */
  readonly ponders: boolean;
}

/** A vendor's server: logs users in and out, claims them, shows them, takes their messages. Everything it shows is numbered. */
export class PresenceServer {
  readonly name: string;
  readonly rules: ServerRules;
  readonly #whereabouts: Whereabouts;
  /** What was read, on all servers of the world, in order. */
  readonly #read: string[];
  /** Logged in here, as it believes. */
  readonly here = new Set<string>();
  /** Does not accept messages now. */
  sick = false;
  readonly #client: Client;
  readonly #simulation: Simulation;
  readonly #story: Story;
  readonly #serials = new Map<string, number>();
  /** When each was made: `user serial`. */
  readonly #made = new Map<string, number>();
  readonly #legs = new Map<string, Leg>();
  /** REGISTERs by user: how many were begun, and how many are under way. */
  readonly #asking = new Map<string, { begun: number; open: number }>();
  readonly #claims = new Map<string, Registration>();
  #tags = 0;
  #over = false;

  constructor(
    name: string,
    client: Client,
    simulation: Simulation,
    story: Story,
    rules: ServerRules,
    read: string[],
    whereabouts: Whereabouts,
  ) {
    this.#whereabouts = whereabouts;
    this.#read = read;
    this.name = name;
    this.rules = rules;
    this.#client = client;
    this.#simulation = simulation;
    this.#story = story;
  }

  serial(user: string): number {
    return this.#serials.get(user) ?? 0;
  }

  madeAt(user: string, serial: number): number {
    return this.#made.get(`${user} ${serial}`) ?? 0;
  }

  /** Dialogs about this user, as `watcher` values. */
  legsOf(user: string): string[] {
    return [...this.#legs.values()].filter((leg) => leg.user === user).map((leg) => leg.watcher);
  }

  get legs(): number {
    return this.#legs.size;
  }

  handle(transaction: ServerTransaction): void {
    const { request } = transaction;
    if (request.to.tag !== undefined) this.#within(transaction);
    else if (request.method === "SUBSCRIBE") this.#subscribe(transaction);
    else if (request.method === "MESSAGE") this.#message(transaction);
    else transaction.respond(buildResponse(request, 200));
  }

  /** The user changes something: what is shown of him has a new number. */
  show(user: string): void {
    this.#change(user);
    for (const leg of this.#legs.values()) if (leg.user === user) this.#notify(leg);
  }

  /** He logs in. */
  login(user: string): void {
    this.here.add(user);
    this.show(user);
  }

  /** He goes; `ending`: his watchers here are told that it is over. */
  logout(user: string, ending: boolean): void {
    this.here.delete(user);
    this.#change(user);
    for (const [key, leg] of this.#legs) {
      if (leg.user !== user) continue;
      if (ending) {
        this.#drop(key);
        this.#send(leg, "terminated;reason=deactivated", () => undefined);
      } else this.#notify(leg);
    }
  }

  /** It starts again and remembers no dialog. */
  forget(): void {
    for (const key of [...this.#legs.keys()]) this.#drop(key);
  }

  /** REGISTER on behalf of the user, to a proxy. The final status; 0: nobody answered. */
  async register(
    user: string,
    proxy: string,
    seconds: number,
    how: "same call" | "new call" | "repeat",
  ): Promise<number> {
    let claim = this.#claims.get(user);
    if (claim === undefined || how === "new call") {
      claim = { callId: `reg-${this.name}-${user}-${this.#tags++}`, cseq: 0, until: 0 };
      this.#claims.set(user, claim);
    }
    if (how !== "repeat" || claim.cseq === 0) claim.cseq++;
    const aor = `<sip:${this.rules.identities[user] ?? user}@example.com>`;
    const request = buildRequest({
      method: "REGISTER",
      uri: "sip:example.com",
      headers: [
        ["Max-Forwards", "70"],
        ["From", `${aor};tag=r${this.#tags++}`],
        ["To", aor],
        ["Call-ID", claim.callId],
        ["CSeq", `${claim.cseq} REGISTER`],
        ["Contact", `<sip:${this.#client.host}:5060>`],
        ["Expires", String(seconds)],
      ],
    });
    const others = this.#asking.get(user) ?? { begun: 0, open: 0 };
    this.#asking.set(user, others);
    const alone = others.open === 0 ? ++others.begun : 0;
    if (alone === 0) others.begun++;
    others.open++;
    const before = this.#whereabouts.stays(user).length;
    const holder = this.#whereabouts.stays(user).at(-1)?.server ?? null;
    const asked = this.#simulation.now;
    const late = how === "same call" && seconds > 0 && holder !== null && holder !== this.name && claim.until > asked;
    if (seconds === 0) claim.until = 0;
    const status = await this.#client.beginRequest(request, proxy).done;
    others.open--;
    this.#story.tell(user, `${this.name}: REGISTER ${seconds} (${how}, CSeq ${claim.cseq}) by ${proxy}: ${status}`);
    // models.md, "Exclusive": the Call-ID of a superseded claim, neither given up nor outlived, while another holds him.
    const next = this.#whereabouts.stays(user)[before];
    // Another REGISTER at the same time may have been the one that claimed him.
    const took = others.begun === alone && next?.server === this.name && next.origin === "registered";
    if (late && status === 200 && claim.until > this.#simulation.now && took) {
      this.#story.wrong(user, `${this.name}: a late refresh was taken for a claim`);
    }
    if (status === 200 && seconds > 0) claim.until = this.#simulation.now + seconds * 1000;
    else if (status === 0 || status >= 500) claim.until = 0;
    return status;
  }

  stop(): void {
    this.#over = true;
    this.forget();
  }

  #change(user: string): void {
    const serial = this.serial(user) + 1;
    this.#serials.set(user, serial);
    this.#made.set(`${user} ${serial}`, this.#simulation.now);
  }

  #subscribe(transaction: ServerTransaction): void {
    const { request } = transaction;
    const user = this.#userOf(request);
    const watcher = (request.identities[0] ?? request.from).uri.raw.replace(/^sip:/, "");
    const seconds = Math.min(request.expires ?? LONGEST, LONGEST);
    const refused = this.rules.denies.has(`${user} ${watcher}`) ? 403 : this.#absent(user) ? 404 : 0;
    this.#story.tell(user, `${this.name}: SUBSCRIBE ${seconds} of ${watcher}: ${refused || 200} (${request.from.tag})`);
    if (refused > 0) {
      transaction.respond(buildResponse(request, refused, undefined, { toTag: `n${this.#tags++}` }));
      return;
    }
    const dialog = answeringDialog(request, `${this.name}-${this.#tags++}`);
    const state = this.rules.ponders ? "pending" : "active";
    const leg: Leg = { user, watcher, dialog, confirmed: -1, until: 0, state, expiry: NEVER, again: NEVER, acks: 0 };
    this.#legs.set(dialogKey(dialog), leg);
    this.#grant(transaction, leg, seconds);
    if (state === "pending") {
      this.#later(400, () => {
        leg.state = "active";
        if (this.#legs.get(dialogKey(dialog)) === leg) this.#notify(leg);
      });
    }
  }

  #within(transaction: ServerTransaction): void {
    const { request } = transaction;
    const leg = this.#legs.get(requestKey(request));
    if (request.method !== "SUBSCRIBE" || leg === undefined) {
      this.#story.tell(
        this.#userOf(request),
        `${this.name}: ${request.method} in no dialog: 481 (${request.from.tag})`,
      );
      transaction.respond(buildResponse(request, 481));
      return;
    }
    const seconds = Math.min(request.expires ?? LONGEST, LONGEST);
    this.#story.tell(leg.user, `${this.name}: refresh ${seconds} of ${leg.watcher} (${request.from.tag})`);
    leg.dialog.target = contactOf(request) ?? leg.dialog.target;
    this.#grant(transaction, leg, seconds);
  }

  #grant(transaction: ServerTransaction, leg: Leg, seconds: number): void {
    const { request } = transaction;
    const headers: HeaderPair[] = [
      ["Contact", `<sip:${this.#client.host}:5060>`],
      ["Expires", String(seconds)],
    ];
    const status = leg.state === "pending" ? 202 : 200;
    transaction.respond(buildResponse(request, status, undefined, { toTag: leg.dialog.localTag, headers }));
    leg.expiry.cancel();
    const end = (): void => {
      this.#drop(dialogKey(leg.dialog));
      this.#send(leg, "terminated;reason=timeout", () => undefined);
    };
    if (seconds === 0) {
      end();
      return;
    }
    leg.until = this.#simulation.now + seconds * 1000;
    leg.expiry = this.#later(seconds * 1000, end);
    this.#notify(leg);
  }

  #notify(leg: Leg): void {
    leg.again.cancel();
    leg.again = NEVER;
    const serial = this.serial(leg.user);
    const left = Math.max(0, Math.round((leg.until - this.#simulation.now) / 1000));
    this.#send(leg, `${leg.state};expires=${left}`, (status) => {
      const key = dialogKey(leg.dialog);
      if (this.#legs.get(key) !== leg) return;
      if (status === 481) {
        this.#story.tell(leg.user, `${this.name}: its NOTIFY to ${leg.watcher} got 481 (${leg.dialog.remoteTag})`);
        this.#drop(key);
      } else if (status >= 200 && status < 300) leg.confirmed = Math.max(leg.confirmed, serial);
      else if (leg.confirmed < this.serial(leg.user)) {
        leg.again.cancel();
        leg.again = this.#later(AGAIN_MS, () => this.#notify(leg));
      }
    });
  }

  #send(leg: Leg, state: string, answered: (status: number) => void): void {
    const entity = `${this.rules.identities[leg.user] ?? leg.user}@example.com`;
    const body = state.startsWith("pending")
      ? ""
      : makeDocument(entity, this.name, this.serial(leg.user), this.here.has(leg.user));
    const headers: HeaderPair[] = [
      ["Contact", `<sip:${this.#client.host}:5060>`],
      ["Event", "presence"],
      ["Subscription-State", state],
      ...(body === "" ? [] : [["Content-Type", "application/pidf+xml"] as const]),
    ];
    const request = inDialog(leg.dialog, "NOTIFY", headers, body);
    void this.#client.stack.ask(request).then((answer) => answered(answer?.status ?? 0));
  }

  #message(transaction: ServerTransaction): void {
    const { request } = transaction;
    const user = this.#userOf(request);
    const status = this.#absent(user) || !this.here.has(user) ? 404 : this.sick ? 480 : 200;
    if (status === 200) this.#read.push(request.body);
    this.#story.tell(user, `${this.name}: MESSAGE "${request.body}": ${status}`);
    transaction.respond(buildResponse(request, status));
  }

  #absent(user: string): boolean {
    return user === "" || (this.rules.strict && !this.here.has(user));
  }

  /** Our name of the user a request is for. */
  #userOf(request: SipRequest): string {
    const uri = request.to.tag === undefined ? request.uri : request.to.uri;
    const part = uri.kind === "sip" ? (uri.user ?? "") : "";
    return Object.entries(this.rules.identities).find(([, own]) => own === part)?.[0] ?? part;
  }

  #drop(key: string): void {
    const leg = this.#legs.get(key);
    leg?.expiry.cancel();
    leg?.again.cancel();
    this.#legs.delete(key);
  }

  #later(ms: number, run: () => void): Timer {
    return this.#client.stack.runtime.timers.after(ms, () => {
      if (!this.#over) run();
    });
  }
}
