import type { Address, Runtime } from "../runtime/runtime.ts";
import type { HeaderPair } from "../sip/message/build.ts";
import type { SipRequest, SipResponse } from "../sip/message/message.ts";
import type { OnwardRules } from "./onward.ts";
import type { Call } from "./outgoing-calls.ts";
import type { Accepted, Verdict } from "./presence-agent.ts";
import { RunningExampleServer } from "./running-server.ts";
import type { Watch, WatchOptions } from "./watches.ts";

/**
 * What is done with a request for somebody else: `404`; `proxy-back` and `b2bua-back` send it to the proxy, in the same call or under
 * a new Call-ID; `accept` takes it as if the user lived here.
 */
export type OnUnknown = "404" | "proxy-back" | "b2bua-back" | "accept";

export interface ExampleServerOptions {
  readonly name: string;
  readonly listen: Address;
  /** User parts of those who live here from the start. */
  readonly users: readonly string[];
  readonly domain: string;
  /** The routing proxy: where requests of its own users go, and by default routes what it does not hold. */
  readonly proxy?: Address;
  readonly onUnknown: OnUnknown;
  /** How its phones take an INVITE; default `answer`. */
  readonly phones?: "answer" | "ring";
  /** How it reads what it is told of registrations (RFC 3680); default `contacts`. */
  readonly reginfo?: "contacts" | "whole";
  /** Whether a REGISTER with `Contact: *` takes a user away from it altogether; default: only his phones' registrations. */
  readonly evictByRegister?: boolean;
  /** Of RFC 6665 4.1.3: what the watchers of one who leaves are told; default `deactivated`. */
  readonly leaving?: string;
  /** First NOTIFYs go out before their 200. */
  readonly notifyFirst?: boolean;
  /** Sends subscriptions on to other servers, through the proxy; default: it answers from its own tables. */
  readonly onward?: OnwardRules;
  /** Of what it grants watchers, seconds; default 3600. */
  readonly longest?: number;
  /** Id of the tuple in its own documents; default `own`, as of others. */
  readonly tuple?: string;
  /** Numbers its documents; shared by several servers, it orders the documents of them all. Default: a counter of its own. */
  readonly serial?: () => number;
  readonly log?: (line: string) => void;
}

export interface OwnRequest {
  readonly method: string;
  /** User part of one of its users. */
  readonly from: string;
  /** AoR. */
  readonly to: string;
  readonly headers?: readonly HeaderPair[];
  readonly body?: string;
}

/** What a test makes it answer: that status, or never anything. */
export type Scripted = "silence" | { readonly status: number; readonly headers?: readonly HeaderPair[] };

export interface Message {
  /** Sender's AoR URI. */
  readonly from: string;
  readonly text: string;
  /** The same for every copy of one message. */
  readonly callId: string;
}

/**
 * What one does with an example server, as a demo, a simulation or a test:
 *
 * - its users: `hold` and `release` say who lives there; `login` and `logout` do that and tell the proxy, as when a phone
 *   registers (REGISTER on his behalf, refreshed). `registrations` subscribes to event reg, so that it hears who was taken away
 *   from it and lets go of him; `evicted` says who was.
 * - as a notifier: `show` changes what a user's watchers see; every document has a mark (`markOf`) with the server's name and a
 *   rising number. `accepted` lists its dialogs; `policy` and `reconsider` decide who may watch; `lose` makes NOTIFYs vanish.
 * - as its watchers' server: `watch` keeps every NOTIFY in order, refreshes, and subscribes anew where it is told to.
 * - `ask` sends anything else (MESSAGE, PUBLISH); `inboxes` has what came; `script` makes it answer what a test says.
 */
export interface ExampleServer {
  readonly name: string;
  readonly uri: string;
  /** Requests received outside dialogs, retransmissions not counted: `METHOD user` -> times. */
  readonly received: ReadonlyMap<string, number>;
  /** The last messages of each user: sender's AoR URI and text. */
  readonly inboxes: ReadonlyMap<string, readonly Message[]>;
  /** Subscriptions, registrations, calls that live now: zero when traffic has ended. */
  readonly live: number;
  /** Users it was told to let go, in order, the last ten thousand. */
  readonly evicted: ReadonlyArray<{ readonly user: string; readonly by: "reg event" | "REGISTER" | "refusal" }>;
  onUnknown: OnUnknown;
  /** Who may watch; default: everybody, at once. */
  policy: (watcher: string, user: string) => Verdict;
  /** Asked first for every request that is no retransmission; undefined: as usual. */
  script: (request: SipRequest) => Scripted | undefined;
  seen(method: string, user: string): number;
  hold(user: string): void;
  /** He leaves: his subscriptions end, as `leaving` says. */
  release(user: string): void;
  /** He comes online here, and the proxy is told, now and before it forgets. Its answer; where it refuses, he is let go. */
  login(user: string, seconds?: number): Promise<SipResponse | null>;
  /** He goes: deregistered at the proxy, then released. */
  logout(user: string): Promise<SipResponse | null>;
  /** Whether a login of his is being refreshed. */
  keeps(user: string): boolean;
  /** Sends a request of one of its users to the proxy; the final response, or null where nobody answered. */
  ask(request: OwnRequest): Promise<SipResponse | null>;
  /** Subscribes one of its users to somebody's presence through the proxy. */
  watch(from: string, to: string, options?: WatchOptions): Promise<Watch>;
  /** Subscribes to what the proxy knows of registrations: of one user, else of all its own (RFC 3680). Kept alive. */
  registrations(user?: string): Promise<Watch>;
  /** Calls somebody through the proxy. */
  call(from: string, to: string): Promise<Call>;
  /** One of its users comes online or goes, as if his phone had published it. */
  show(user: string, basic: "open" | "closed"): void;
  /** The dialogs in which it is the notifier. */
  accepted(user?: string): readonly Accepted[];
  /** Asks `policy` again about every watcher. */
  reconsider(): void;
  /** Whom it asks about the user has changed: his watchers are told to subscribe anew (RFC 6665 4.1.3, deactivated). */
  renew(user: string): void;
  /** It starts again, and remembers no dialog in which it notifies; what it asked others is forgotten too. */
  forget(): void;
  /** The next `count` NOTIFYs are never sent. */
  lose(count: number): void;
  /** Tells the proxy that a user is here: a third-party REGISTER with itself as contact (0 seconds: that he is not any more). */
  claim(user: string, seconds: number): Promise<SipResponse | null>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A small presence and IM server on the product's own stack: for the demo, the flow tests and the example domain. */
export function createExampleServer(runtime: Runtime, options: ExampleServerOptions): ExampleServer {
  return new RunningExampleServer(runtime, options);
}
