/**
 * To which of a user's servers a MESSAGE or INVITE goes, and in which order: pure. The algorithms are those of the XMPP
 * proposal "Customizable Message Routing", with servers in the place of resources; what its `forkalways` says of one
 * message is said in SIP by Request-Disposition (RFC 3841 9.1).
 */

export const ALGORITHMS = ["all", "mostactive", "roundrobin", "weighted"] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** A user's own setting, the same for all his devices. */
export interface RoutingSetting {
  readonly algorithm: Algorithm;
  /** Server -> how many of its messages, out of the sum of all, it gets first; of a server not in it 1. Whole numbers up to MOST_WEIGHT. */
  readonly weights: Readonly<Record<string, number>>;
}

export const MOST_WEIGHT = 100;

/** What Request-Disposition says, as far as a proxy between servers can do it; of what it does not say null. */
export interface Disposition {
  readonly fork: "fork" | "no-fork" | null;
  readonly order: "parallel" | "sequential" | null;
  readonly cancel: "cancel" | "no-cancel" | null;
  readonly recurse: "recurse" | "no-recurse" | null;
}

export const NO_DISPOSITION: Disposition = Object.freeze({ fork: null, order: null, cancel: null, recurse: null });

/** RFC 3841 10: a list of tokens; of each type the first counts. */
export function dispositionOf(values: readonly string[]): Disposition {
  let { fork, order, cancel, recurse }: Disposition = NO_DISPOSITION;
  for (const value of values) {
    const token = value.trim().toLowerCase();
    if (token === "fork" || token === "no-fork") fork ??= token;
    else if (token === "parallel" || token === "sequential") order ??= token;
    else if (token === "cancel" || token === "no-cancel") cancel ??= token;
    else if (token === "recurse" || token === "no-recurse") recurse ??= token;
  }
  return { fork, order, cancel, recurse };
}

export interface RoutingQuestion {
  readonly method: string;
  /** In order of configuration; those that can be asked now. Not empty. */
  readonly servers: readonly string[];
  readonly setting: RoutingSetting;
  readonly disposition: Disposition;
  /** How active he is at each server (`activityOf`); of a server not in it nothing is known. Null: nothing is known at all. */
  readonly activity: ReadonlyMap<string, number> | null;
  /** Counts his messages that take turns. */
  readonly turn: number;
}

export interface Routing {
  /** Asked in parallel, one stage after the other. No stage is empty. */
  readonly stages: readonly (readonly string[])[];
  /**
   * Leads to the next stage: that nobody of this one has taken it, so that a refusal is final (`untaken`); or any final
   * response but 2xx and 6xx, as a caller asks for it by `sequential` (RFC 3841 9.1).
   */
  readonly moveOn: "untaken" | "failed";
  /** By which rule, for people. */
  readonly rule: string;
  /** It took a turn: the next one is another's. */
  readonly tookTurn: boolean;
}

export function chooseRouting(question: RoutingQuestion): Routing {
  const { method, servers, disposition } = question;
  // The algorithms are for messages; a call rings everywhere, and the first answer takes it (models.md, "Conversation consistency").
  const setting = method === "MESSAGE" ? question.setting : { ...question.setting, algorithm: "all" as const };
  const { fork, order } = disposition;
  if (servers.length === 1) return routing([servers], "only: his one server", false);
  if (fork === "no-fork") {
    const [best, rule, tookTurn] = ordered(question, setting);
    return routing([best.slice(0, 1)], `Request-Disposition: no-fork; ${rule}`, tookTurn);
  }
  if (order === "sequential") {
    const [each, rule, tookTurn] = ordered(question, setting);
    const stages = each.map((server) => [server]);
    return { stages, moveOn: "failed", rule: `Request-Disposition: sequential; ${rule}`, tookTurn };
  }
  if (fork === "fork" || order === "parallel")
    return routing([servers], `Request-Disposition: ${fork ?? order}`, false);
  if (setting.algorithm === "all") return routing([servers], "all", false);
  const [each, rule, tookTurn, last] = ordered(question, setting);
  const first = each.slice(0, each.length - last).map((server) => [server]);
  const rest = each.slice(each.length - last);
  return routing(rest.length === 0 ? first : [...first, rest], rule, tookTurn);
}

function routing(stages: readonly (readonly string[])[], rule: string, tookTurn: boolean): Routing {
  return { stages, moveOn: "untaken", rule, tookTurn };
}

/** The best first; why; whether it takes a turn; and how many at the end nothing tells apart. */
type Ordered = readonly [readonly string[], string, boolean, number];

function ordered({ servers, activity, turn }: RoutingQuestion, { algorithm, weights }: RoutingSetting): Ordered {
  switch (algorithm) {
    case "roundrobin":
      return [rotated(servers, turn % servers.length), "roundrobin", true, 0];
    case "weighted":
      return [byWeight(servers, weights, turn), "weighted", true, 0];
    case "mostactive":
    case "all":
      return mostActive(servers, activity, algorithm);
  }
}

function rotated(servers: readonly string[], by: number): readonly string[] {
  return [...servers.slice(by), ...servers.slice(0, by)];
}

/** Where he is nowhere seen to be active, all are as good (RFC 6121 8.5.2.1.1 leaves the choice to the server). */
function mostActive(servers: readonly string[], activity: RoutingQuestion["activity"], named: Algorithm): Ordered {
  const of = (server: string): number => activity?.get(server) ?? 0;
  const seen = servers.filter((server) => of(server) > 0);
  if (seen.length === 0) return [servers, `${named}, his presence tells no server from another`, false, servers.length];
  const best = seen.toSorted((a, b) => of(b) - of(a));
  const rest = servers.filter((server) => of(server) <= 0);
  return [[...best, ...rest], "mostactive by his presence", false, rest.length];
}

/**
 * Smooth weighted turns: in every run of as many turns as the weights' sum each server is first exactly its weight's
 * times, and they are spread out. Those without weight come last, and first only where nobody has any.
 */
function byWeight(servers: readonly string[], weights: RoutingSetting["weights"], turn: number): readonly string[] {
  const own = servers.map((server) => weightOf(weights, server));
  const sum = own.reduce((total, each) => total + each, 0);
  if (sum === 0) return rotated(servers, turn % servers.length);
  const credit = own.map(() => 0);
  let first = 0;
  for (let t = turn % sum; t >= 0; t--) {
    first = 0;
    for (let i = 0; i < own.length; i++) {
      credit[i]! += own[i]!;
      if (credit[i]! > credit[first]!) first = i;
    }
    credit[first]! -= sum;
  }
  const rest = servers.filter((_, i) => i !== first);
  return [servers[first]!, ...rest.toSorted((a, b) => weightOf(weights, b) - weightOf(weights, a))];
}

function weightOf(weights: RoutingSetting["weights"], server: string): number {
  return Object.hasOwn(weights, server) ? weights[server]! : 1;
}
