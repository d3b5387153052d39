import type { Runtime, Timer } from "../runtime/runtime.ts";
import { buildResponse, type HeaderPair } from "../sip/message/build.ts";
import type { ServerTransaction } from "../sip/transaction/transaction.ts";

const MAX_CONTACTS = 20_000;
const LONGEST = 3_600;

interface Registration {
  readonly user: string;
  readonly uri: string;
  /** Path as it was registered with (RFC 3327). */
  readonly routes: readonly string[];
  readonly until: number;
  readonly timer: Timer;
}

/** REGISTER for the users of one example server (RFC 3261 10.3, RFC 3327). */
export class Registrar {
  readonly #runtime: Runtime;
  /** By user and contact URI, oldest first. */
  readonly #registrations = new Map<string, Registration>();

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  get size(): number {
    return this.#registrations.size;
  }

  register(transaction: ServerTransaction, user: string): void {
    const { request } = transaction;
    const { contacts } = request;
    if (this.#registrations.size >= MAX_CONTACTS) {
      transaction.respond(buildResponse(request, 503, undefined, { headers: [["Retry-After", "10"]] }));
      return;
    }
    if (contacts === "*") this.release(user);
    else {
      for (const contact of contacts) {
        const asked = Number(contact.params.get("expires") ?? request.expires ?? LONGEST);
        this.#put(user, contact.uri.raw, request.values("Path"), Math.min(asked, LONGEST));
      }
    }
    const now = this.#runtime.clock.now();
    const headers = this.#of(user).map((each): HeaderPair => {
      const left = Math.max(1, Math.round((each.until - now) / 1000));
      return ["Contact", `<${each.uri}>;expires=${left}`];
    });
    const paths = request.headers("Path").map((path): HeaderPair => ["Path", path]);
    transaction.respond(buildResponse(request, 200, undefined, { headers: [...paths, ...headers] }));
  }

  /** Where his latest phone is. */
  contact(user: string): { readonly uri: string; readonly routes: readonly string[] } | undefined {
    return this.#of(user).at(-1);
  }

  release(user: string): void {
    for (const each of this.#of(user)) this.#drop(user, each.uri);
  }

  stop(): void {
    for (const each of this.#registrations.values()) each.timer.cancel();
    this.#registrations.clear();
  }

  #put(user: string, uri: string, routes: readonly string[], seconds: number): void {
    this.#drop(user, uri);
    if (!(seconds > 0)) return;
    const timer = this.#runtime.timers.after(seconds * 1000, () => this.#drop(user, uri));
    const until = this.#runtime.clock.now() + seconds * 1000;
    this.#registrations.set(`${user} ${uri}`, { user, uri, routes, until, timer });
  }

  #drop(user: string, uri: string): void {
    const key = `${user} ${uri}`;
    this.#registrations.get(key)?.timer.cancel();
    this.#registrations.delete(key);
  }

  #of(user: string): Registration[] {
    return [...this.#registrations.values()].filter((each) => each.user === user);
  }
}
