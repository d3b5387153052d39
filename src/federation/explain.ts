import type { PolicyExplanation } from "../policy/policy.ts";
import { decide } from "./decide.ts";
import { explainUnion, type UnionExplanation, unionLines } from "./explain-union.ts";
import type { Facts, Origin, ServerFacts } from "./facts.ts";
import type { BindPlan, ComposePlan, Plan } from "./plan.ts";
import type { Routing } from "./routing-choice.ts";

/** What `codomain explain` and the admin API show of one decision. */
export interface Explanation {
  /** One sentence a line: what was known, what follows, why. */
  readonly text: readonly string[];
  readonly json: ExplanationJson;
}

export interface ExplanationJson {
  readonly method: string;
  readonly event: string;
  readonly user: string;
  readonly sender: { readonly aor: string; readonly trusted: boolean };
  readonly origin: string;
  readonly model: string;
  readonly modelFrom: string;
  readonly binding: {
    readonly state: string;
    readonly server: string | null;
    readonly origin: string | null;
    readonly epoch: number | null;
    /** ISO 8601; null: does not expire. */
    readonly expiresAt: string | null;
  };
  readonly servers: readonly { readonly name: string; readonly up: boolean; readonly drained: boolean }[];
  /** Null: the user is of another model. */
  readonly union: UnionExplanation | null;
  readonly plan: Plan;
  /** Where a credit decides: the plan with one, and without. */
  readonly either: { readonly spent: Plan; readonly none: Plan } | null;
  /** What rules that are kept here, or asked from here, say of it; null: there are none. */
  readonly policy: PolicyExplanation | null;
  /** `relay east`, `fork east,west | north`, `reject 480 Temporarily Unavailable`. */
  readonly summary: string;
}

export function renderExplanation(facts: Facts, plan: Plan, policy: PolicyExplanation | null = null): Explanation {
  const union = explainUnion(facts, plan);
  const either = plan.kind === "credit" ? eitherOf(facts) : null;
  const json: ExplanationJson = {
    method: facts.method,
    event: facts.event,
    user: facts.aor,
    sender: facts.sender,
    origin: originText(facts.origin),
    model: facts.model.model,
    modelFrom: facts.modelFrom,
    binding: bindingOf(facts),
    servers: facts.servers.map(({ name, up, drained }) => ({ name, up, drained })),
    union,
    plan,
    either,
    policy,
    summary: planSummary(plan),
  };
  const event = facts.event === "" ? "" : ` (${facts.event})`;
  const text = [
    `${facts.method}${event} for ${facts.aor} from ${json.origin}`,
    `sender: ${senderText(facts.sender)}`,
    `model: ${facts.model.model}, by ${facts.modelFrom}`,
    `binding: ${bindingText(facts)}`,
    `servers: ${facts.servers.map(serverText).join(", ")}`,
    ...(union === null ? [] : unionLines(union)),
    ...(facts.without.length > 0 ? [`not asked again: ${facts.without.join(", ")}`] : []),
    ...plan.reasons.map((reason) => `- ${reason}`),
    `plan: ${json.summary}`,
    ...details(facts, plan).map((line) => `  ${line}`),
    ...(either === null ? [] : eitherLines(either)),
    ...(policy === null ? [] : policyLines(policy)),
  ];
  return { text, json };
}

function policyLines({ decision, lines }: PolicyExplanation): string[] {
  const then: Readonly<Record<string, string>> = {
    block: "so it is refused with 403",
    confirm: "so the watcher is pending until the user decides",
    "polite-block": "so the watcher is shown a document that says nothing",
    unknown: "nobody can be asked now, so it is refused with 500 and Retry-After",
  };
  return [
    ...lines.map((line, i) => (i === 0 ? line : `  ${line}`)),
    ...(then[decision] === undefined ? [] : [`  ${then[decision]}`]),
  ];
}

function eitherOf(facts: Facts): NonNullable<ExplanationJson["either"]> {
  return { spent: decide({ ...facts, credit: "spent" }), none: decide({ ...facts, credit: "none" }) };
}

function eitherLines({ spent, none }: NonNullable<ExplanationJson["either"]>): string[] {
  return [
    `where it has a credit, as what it was sent: ${planSummary(spent)}`,
    ...spent.reasons.map((reason) => `  - ${reason}`),
    `where it has none, as its own user's: ${planSummary(none)}`,
    ...none.reasons.map((reason) => `  - ${reason}`),
  ];
}

/** As log lines have it: `server:east`, `client`, `client:joe@example.com`, `peer:a.com`, `unknown`. */
export function originText(origin: Origin): string {
  switch (origin.kind) {
    case "server":
      return `server:${origin.server}`;
    case "client":
      return origin.authenticated === null ? "client" : `client:${origin.authenticated}`;
    case "peer":
      return `peer:${origin.domain}`;
    case "unknown":
      return "unknown";
  }
}

/** The plan on one line: its kind, and where to. */
export function planSummary(plan: Plan): string {
  switch (plan.kind) {
    case "relay":
    case "redirect":
      return `${plan.kind} ${plan.server}`;
    case "fork":
      return `fork ${plan.stages.map((stage) => stage.join(",")).join(" | ")}`;
    case "reject":
      return `reject ${plan.status} ${plan.phrase}`;
    case "bind":
      return plan.relayTo === null ? `${plan.action} for ${plan.server}` : `relay ${plan.relayTo}, bind by its 2xx`;
    case "hold":
      return plan.server === null ? "hold" : `hold, extended to ${plan.server}`;
    case "store":
      return plan.behindOthers ? "store, if earlier ones are waiting" : "store";
    case "reginfo":
      return plan.aor === null ? `reginfo of all users on ${plan.server}` : "reginfo";
    case "compose":
      return `compose ${plan.servers.join(", ")}`;
    case "credit":
      return `credit of ${plan.server} decides`;
    case "spread":
      return `spread to ${(plan.routing?.stages ?? [plan.servers]).map((stage) => stage.join(", ")).join(" | ")}`;
    case "winfo":
      return "winfo";
  }
}

function details(facts: Facts, plan: Plan): string[] {
  const lines: string[] = [];
  if ("unlearn" in plan && plan.unlearn !== null) {
    lines.push(`first dropped: what was learned of ${plan.unlearn.server}, epoch ${plan.unlearn.epoch}`);
  }
  switch (plan.kind) {
    case "relay":
    case "redirect":
    case "bind":
      if (plan.identity !== null) lines.push(`that server knows the user as ${plan.identity}`);
      if (plan.subdomain !== null) lines.push(`under the subdomain ${plan.subdomain}`);
      if (plan.kind !== "redirect" && plan.binding?.retry === true) {
        lines.push("a 404 from it: what was learned is dropped, and the others are asked, once");
      }
      if (plan.kind === "bind" && plan.action === "claim") {
        lines.push(plan.conflict === "takeover" ? "the latest claim wins" : `a second claim gets ${plan.refuseWith}`);
        lines.push(...takingLines(facts, plan));
      }
      break;
    case "fork":
      if (plan.stages.length > 1) lines.push("the second stage only if all of the first say: not here");
      lines.push(`a success proves of: ${plan.provers.length === 0 ? "none" : plan.provers.join(", ")}`);
      if (plan.unasked.length > 0) lines.push(`not asked, so that no 404 can come of it: ${plan.unasked.join(", ")}`);
      break;
    case "compose":
      lines.push("one document of all of them; pending until each has confirmed or dropped out");
      if (plan.visited)
        lines.push("a server that a live chain of this watcher has visited is left out; 482 where none is left");
      lines.push(...waitingLines(facts, plan));
      break;
    case "spread":
      lines.push(
        plan.choice === "all"
          ? "to all of them: it is a server's part of the whole"
          : plan.routing === undefined
            ? "which of them, the user's setting says"
            : `which of them: ${plan.routing.rule}${plan.routing.stages.length > 1 ? STAGES[plan.routing.moveOn] : ""}`,
      );
      if (plan.unasked.length > 0) lines.push(`cannot be asked now: ${plan.unasked.join(", ")}`);
      break;
    case "reject":
      if (plan.retryAfter !== null) lines.push(`Retry-After: ${plan.retryAfter}`);
      if (plan.warning !== null) lines.push(`Warning: ${plan.warning}`);
      break;
  }
  return lines;
}

/** What becomes of a composed subscription while servers cannot be asked. */
function waitingLines({ servers, settings }: Facts, plan: ComposePlan): string[] {
  const down = servers.filter((each) => plan.servers.includes(each.name) && !each.up);
  const without = settings.unions.unreachable === "without";
  return down.map(({ name, neverDenies }) =>
    without && neverDenies
      ? `shown without ${name}, which never denies`
      : `${name} cannot be asked now: it waits for it`,
  );
}

const STAGES: Readonly<Record<Routing["moveOn"], string>> = {
  untaken: "; after a bar only where nobody before it took it",
  failed: "; after a bar only where all before it failed",
};

/** What a claim does to the server that has the user now. */
function takingLines({ lookup, servers }: Facts, plan: BindPlan): string[] {
  if (plan.conflict !== "takeover" || !plan.equalRank || lookup.state !== "bound") return [];
  if (lookup.binding.origin === "provisioned") return ["the user is provisioned where he is: it gets 403"];
  const holder = servers.find((each) => each.name === lookup.binding.server);
  if (holder === undefined || holder.name === plan.server) return [];
  const { damping } = plan;
  const lines = [`${holder.name} loses the user, and is told ${EVICTIONS[holder.evict](holder.reginfo)}`];
  if (damping !== null)
    lines.push(`refused after ${damping.limit} such takings at a stretch, forgotten over ${damping.windowMs / 1000} s`);
  return lines;
}

const EVICTIONS: Readonly<Record<ServerFacts["evict"], (reads: ServerFacts["reginfo"]) => string>> = {
  reginfo: (reads) =>
    reads === "whole"
      ? "where it subscribes to reg: registration terminated (reginfo: whole)"
      : "where it subscribes to reg: contact terminated, rejected",
  register: () => "by REGISTER with Contact: *, Expires: 0 (evict: register)",
  none: () => "nothing (evict: none)",
};

function bindingOf(facts: Facts): ExplanationJson["binding"] {
  const { lookup } = facts;
  const epoch = lookup.state === "unavailable" ? null : lookup.epoch;
  if (lookup.state !== "bound") return { state: lookup.state, server: null, origin: null, epoch, expiresAt: null };
  const { server, origin, expiresAt } = lookup.binding;
  return { state: "bound", server, origin, epoch, expiresAt: expiresAt === null ? null : iso(expiresAt) };
}

function senderText({ aor, trusted }: Facts["sender"]): string {
  if (aor === "") return "not said";
  return trusted ? aor : `${aor}, not proved`;
}

function bindingText(facts: Facts): string {
  const { lookup, now } = facts;
  switch (lookup.state) {
    case "unavailable":
      return "unknown, the directory is away";
    case "no-record":
      return "none; the user has no record and was never bound";
    case "no-binding":
      return `none, epoch ${lookup.epoch}`;
    case "all-said-404":
      return `none; every server said 404, remembered until ${iso(lookup.until)}${lookup.until <= now ? " (over)" : ""}`;
    case "bound": {
      const { server, origin, epoch, expiresAt } = lookup.binding;
      if (expiresAt === null) return `${server}, ${origin}, epoch ${epoch}`;
      return `${server}, ${origin}, epoch ${epoch}, until ${iso(expiresAt)}${expiresAt <= now ? " (over)" : ""}`;
    }
  }
}

function serverText(server: { name: string; up: boolean; drained: boolean }): string {
  return `${server.name} ${server.drained ? "drained" : server.up ? "up" : "down"}`;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
