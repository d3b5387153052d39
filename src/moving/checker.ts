import type { Binding, Directory } from "../directory/directory.ts";
import type { NewFinding } from "../directory/reconciliation.ts";
import { meaningOf } from "../federation/answers.ts";
import type { ServerFacts } from "../federation/facts.ts";
import { type ModelTable, modelOf } from "../federation/model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { buildRequest } from "../sip/message/build.ts";
import type { SipRequest } from "../sip/message/message.ts";
import type { SipUri } from "../sip/message/uri.ts";
import type { Outbound } from "../sip/transaction/outbound.ts";
import type { Flow } from "../sip/transport/transport.ts";
import type { Telemetry } from "../telemetry/events.ts";

/** What is asked of the program around. */
export interface CheckParts {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly directory: Pick<Directory, "lookup" | "unbind" | "recordAudit" | "users" | "reconciliation">;
  readonly outbound: Pick<Outbound, "toUri">;
  readonly models: () => ModelTable;
  readonly servers: () => readonly Pick<ServerFacts, "name" | "up" | "proves">[];
  /** A node of the server that is in rotation; undefined: none is. */
  readonly nodeOf: (server: string) => SipUri | undefined;
  /** Full AoR by which a server knows the user. Never rejects. */
  readonly nameOn: (aor: string, server: string) => string | Promise<string>;
}

export interface Answer {
  readonly server: string;
  readonly says: "here" | "not-here" | "unknown";
  /** The status, or why there is none. */
  readonly detail: string;
}

/**
 * `here`: directory and server agree. `repaired`: he was unbound; `gone`: he would be. `pinned`: an admin put him there.
 * `conflict`: another server has him. `moved`: while he was asked for. `unknown`: nobody can tell. `unbelieved`: his server
 * says that of everybody. `unasked`: its OPTIONS proves nothing, or it is down. `unbound`, `not-exclusive`: nothing to check.
 */
export type Verdict =
  | "here"
  | "repaired"
  | "gone"
  | "pinned"
  | "conflict"
  | "moved"
  | "unknown"
  | "unbelieved"
  | "unasked"
  | "unbound"
  | "not-exclusive";

export interface Check {
  readonly aor: string;
  readonly binding: Binding | null;
  readonly answers: readonly Answer[];
  readonly verdict: Verdict;
  /** One sentence. */
  readonly detail: string;
}

/** An OPTIONS is given up after this long; the sender of a request would wait no longer. */
const TIMEOUT_MS = 8000;
/** *Not here* is asked twice, so long apart, before anything is done about it. */
export const CONFIRM_MS = 5000;
const LEARNED_ORIGINS = ["learned", "registered", "published"] as const;

/**
 * Asks the server that has an exclusive user whether it really has him, by OPTIONS to his address there (RFC 3261 11). Only
 * a server whose OPTIONS proves is asked (`proves`), and it is believed to lack somebody only after it was seen to have
 * somebody: one that answers 404 to every OPTIONS would else unbind all its users. *Could not be asked* changes nothing.
 */
export class Checker {
  readonly #parts: CheckParts;
  /** Servers that have said of somebody that he is there. */
  readonly #believed = new Set<string>();

  constructor(parts: CheckParts) {
    this.#parts = parts;
  }

  /** Servers that can be asked now. */
  get askable(): readonly string[] {
    const servers = this.#parts.servers().filter((each) => each.up && each.proves.includes("OPTIONS"));
    return servers.map((each) => each.name);
  }

  /** Asks, and changes nothing. @param everybody ask the other servers too, whatever his own says. */
  async look(aor: string, everybody: boolean): Promise<Check> {
    const { lookup, exclusive } = await this.#find(aor);
    const { askable } = this;
    const binding = lookup.state === "bound" ? lookup.binding : null;
    const asked = askable.filter((name) => everybody || name === binding?.server);
    if (!exclusive) return told(aor, binding, [], "not-exclusive", "his model is not exclusive");
    const answers = await Promise.all(asked.map((server) => this.#ask(aor, server)));
    if (binding === null) return told(aor, null, answers, "unbound", "he is on no server");
    const { server } = binding;
    const own = answers.find((each) => each.server === server);
    if (own === undefined) {
      return told(aor, binding, answers, "unasked", `${server} is down, or its OPTIONS proves nothing`);
    }
    if (own.says === "here") {
      const both = elsewhere(answers, server);
      if (both.length === 0) return told(aor, binding, answers, "here", `${server} has him`);
      return told(aor, binding, answers, "conflict", `${server} has him, and so has ${both.join(", ")}`);
    }
    if (own.says === "unknown") return told(aor, binding, answers, "unknown", `${server} cannot tell: ${own.detail}`);
    if (!this.#believed.has(server)) {
      const detail = `${server} says ${own.detail}, but has said of nobody yet that he is there`;
      return told(aor, binding, answers, "unbelieved", detail);
    }
    return this.#missing(aor, binding, own, answers, everybody);
  }

  async #missing(
    aor: string,
    binding: Binding,
    own: Answer,
    answers: readonly Answer[],
    everybody: boolean,
  ): Promise<Check> {
    const { server, origin } = binding;
    const unasked = everybody ? [] : this.askable.filter((name) => name !== server);
    const all = [...answers, ...(await Promise.all(unasked.map((name) => this.#ask(aor, name))))];
    const others = elsewhere(all, server);
    const says = `${server} says ${own.detail}`;
    if (others.length > 0) return told(aor, binding, all, "conflict", `${says}, and ${others.join(", ")} has him`);
    if (origin === "admin" || origin === "provisioned") {
      return told(aor, binding, all, "pinned", `${says}, but an admin put him there (${origin})`);
    }
    return told(aor, binding, all, "gone", says);
  }

  /**
   * Asks, and repairs what is safe: a user whose server says twice that it lacks him, whom no other server has and no
   * admin has put there, is unbound, on server and epoch. What is not safe is noted.
   * @param nap waits between the two; false: at an end.
   */
  async repair(aor: string, nap: (ms: number) => Promise<boolean>, everybody = false): Promise<Check> {
    const first = await this.look(aor, everybody);
    const check = await this.#act(aor, first, nap, everybody);
    if (check.binding !== null) {
      const { server } = check.binding;
      this.#parts.telemetry.emit("reconciled", { aor, server, verdict: check.verdict, detail: check.detail });
    }
    return check;
  }

  async #act(aor: string, first: Check, nap: (ms: number) => Promise<boolean>, everybody: boolean): Promise<Check> {
    const { reconciliation } = this.#parts.directory;
    if (first.verdict === "here") await reconciliation.settle(aor);
    if (first.binding === null || !["gone", "pinned", "conflict"].includes(first.verdict)) return first;
    if (!(await nap(CONFIRM_MS))) return { ...first, verdict: "unknown", detail: "there was no time to ask again" };
    const second = await this.look(aor, everybody);
    const { binding } = second;
    if (binding === null || binding.epoch !== first.binding.epoch || binding.server !== first.binding.server) {
      return { ...second, verdict: "moved", detail: "he moved while he was asked for" };
    }
    switch (second.verdict) {
      case "conflict":
      case "pinned":
        await reconciliation.note(finding(binding, second.verdict, second.detail));
        if (second.verdict === "conflict") {
          const servers = [binding.server, ...elsewhere(second.answers, binding.server)];
          this.#parts.telemetry.emit("conflict", { aor, servers });
        }
        return second;
      case "gone":
        return this.#unbind(second, binding);
      default:
        return second;
    }
  }

  async #unbind(check: Check, binding: Binding): Promise<Check> {
    const { directory } = this.#parts;
    const { aor, server, epoch, origin } = binding;
    const outcome = await directory.unbind({ aor, server, epoch, origins: LEARNED_ORIGINS, actor: "reconciler" });
    if (outcome.outcome === "stale") return { ...check, verdict: "moved", detail: "he moved while he was asked for" };
    const before = { server, origin, epoch };
    await directory.recordAudit({ actor: "reconciler", action: "unbind", aor, before, after: null });
    await directory.reconciliation.note(finding(binding, "repaired", check.detail));
    return { ...check, verdict: "repaired", detail: `${check.detail}: he was unbound` };
  }

  async #find(aor: string) {
    const lookup = await this.#parts.directory.lookup(aor);
    const record = "user" in lookup ? lookup.user : null;
    return { lookup, exclusive: modelOf(this.#parts.models(), aor, record).model.model === "exclusive" };
  }

  /** Past the rotation: that a user's phone does not answer says nothing about the server's nodes. */
  async #ask(aor: string, server: string): Promise<Answer> {
    const node = this.#parts.nodeOf(server);
    if (node === undefined) return { server, says: "unknown", detail: "no node answers" };
    const name = await this.#parts.nameOn(aor, server);
    const options = { timeoutMs: TIMEOUT_MS };
    const reply = await this.#parts.outbound.toUri(node, 0, (flow) => this.#request(name, flow), options);
    if (typeof reply === "string") return { server, says: "unknown", detail: reply };
    const meaning = meaningOf(reply.status);
    if (meaning === "here") this.#believed.add(server);
    const says = meaning === "here" || meaning === "not-here" ? meaning : "unknown";
    return { server, says, detail: String(reply.status) };
  }

  #request(name: string, flow: Flow): SipRequest {
    const { random } = this.#parts.runtime;
    return buildRequest({
      method: "OPTIONS",
      uri: `sip:${name}`,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `<sip:reconciler@${name.slice(name.lastIndexOf("@") + 1)}>;tag=${random.token(10)}`],
        ["To", `<sip:${name}>`],
        ["Call-ID", random.token(24)],
        ["CSeq", "1 OPTIONS"],
        ["Contact", `<sip:${flow.point.sentBy}>`],
        ["Accept", "application/sdp"],
      ],
    });
  }
}

/** The other servers that have him. */
function elsewhere(answers: readonly Answer[], server: string): string[] {
  return answers.filter((each) => each.server !== server && each.says === "here").map((each) => each.server);
}

function told(
  aor: string,
  binding: Binding | null,
  answers: readonly Answer[],
  verdict: Verdict,
  detail: string,
): Check {
  return { aor, binding, answers, verdict, detail };
}

function finding({ aor, server, epoch }: Binding, kind: NewFinding["kind"], detail: string): NewFinding {
  return { aor, kind, server, epoch, detail };
}
