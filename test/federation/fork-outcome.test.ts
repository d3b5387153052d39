import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Ending, meaningOf, type NotifyState } from "../../src/federation/answers.ts";
import { bestAnswer } from "../../src/federation/best-answer.ts";
import {
  type ForkEffect,
  type ForkEvent,
  type ForkState,
  startFork,
  stepFork,
} from "../../src/federation/fork-outcome.ts";
import type { ForkPlan } from "../../src/federation/plan.ts";
import { forkPlan, runs } from "./make.ts";

const end = (server: string, ending: Ending): ForkEvent => ({ kind: "ended", server, ending });
const notify = (server: string, state: NotifyState): ForkEvent => ({ kind: "notify", server, state });
const DEADLINE: ForkEvent = { kind: "deadline" };
const CANCELLED: ForkEvent = { kind: "cancelled" };

interface Run {
  readonly effects: readonly ForkEffect[];
  /** Effects of each event; the first are those of the start. */
  readonly steps: readonly (readonly ForkEffect[])[];
  readonly state: ForkState;
}

function run(method: string, plan: ForkPlan, events: readonly ForkEvent[]): Run {
  let { state, effects } = startFork(method, plan);
  const steps = [effects];
  for (const event of events) {
    ({ state, effects } = stepFork(state, event));
    steps.push(effects);
  }
  return { effects: steps.flat(), steps, state };
}

const isFinal = (effect: ForkEffect): boolean => effect.kind === "forward" || effect.kind === "answer";
const finals = (effects: readonly ForkEffect[]) => effects.filter(isFinal);
const kinds = (effects: readonly ForkEffect[]) => effects.map((effect) => effect.kind);
const closing = (effects: readonly ForkEffect[]) => effects.find((effect) => effect.kind === "close")?.result;

const TWO = forkPlan([["east", "west"]]);

describe("a fork of MESSAGE", () => {
  it("asks the first stage in parallel", () => {
    expect(run("MESSAGE", TWO, []).effects).toEqual([{ kind: "ask", servers: ["east", "west"] }]);
  });

  it("forwards a 2xx at once and learns where it proves", () => {
    const { steps } = run("MESSAGE", TWO, [end("west", 200), end("east", 404)]);
    expect(steps[1]).toEqual([
      { kind: "forward", server: "west", status: 200, challenges: [] },
      { kind: "learn", server: "west" },
    ]);
    expect(steps[2]).toEqual([{ kind: "close", result: { result: "learned", server: "west" } }]);
  });

  it("stays open until every branch has ended, so that a late return of a request is known", () => {
    const { state } = run("MESSAGE", TWO, [end("west", 200)]);
    expect(state.closed).toBe(false);
  });

  it("forwards a 202 and learns nothing", () => {
    const { effects } = run("MESSAGE", TWO, [end("west", 202), end("east", 404)]);
    expect(kinds(effects)).toEqual(["ask", "forward", "close"]);
    expect(closing(effects)).toEqual({ result: "inconclusive" });
  });

  it("forwards the success of a server without the mark and learns nothing", () => {
    const plan = forkPlan([["east", "west"]], { provers: ["east"] });
    const { effects } = run("MESSAGE", plan, [end("west", 200), end("east", 404)]);
    expect(kinds(effects)).toEqual(["ask", "forward", "close"]);
  });

  it("all said 404: answers 404, to be remembered", () => {
    const { effects } = run("MESSAGE", TWO, [end("east", 404), end("west", 604)]);
    expect(finals(effects)).toEqual([{ kind: "forward", server: "east", status: 404, challenges: [] }]);
    expect(closing(effects)).toEqual({ result: "all-said-404" });
  });

  it("some could not be asked: 480, never 404, nothing learned", () => {
    const { effects } = run("MESSAGE", TWO, [end("east", "timeout"), end("west", 404)]);
    expect(finals(effects)).toEqual([{ kind: "answer", status: 480 }]);
    expect(closing(effects)).toEqual({ result: "inconclusive" });
  });

  it("a server that was down from the start makes a 404 a 480", () => {
    const plan = forkPlan([["east"]], { unasked: ["west"] });
    const { effects } = run("MESSAGE", plan, [end("east", 404)]);
    expect(finals(effects)).toEqual([{ kind: "answer", status: 480 }]);
    expect(closing(effects)).toEqual({ result: "inconclusive" });
  });

  it("forwards what was answered in preference to a 404", () => {
    const { effects } = run("MESSAGE", TWO, [end("east", 403), end("west", 404)]);
    expect(finals(effects)).toEqual([{ kind: "forward", server: "east", status: 403, challenges: [] }]);
    expect(closing(effects)).toEqual({ result: "inconclusive" });
  });

  it("two proving 2xx teach nothing and are reported", () => {
    const { steps } = run("MESSAGE", TWO, [end("east", 200), end("west", 200)]);
    expect(steps[1]).toContainEqual({ kind: "learn", server: "east" });
    expect(steps[2]).toEqual([
      { kind: "unlearn", server: "east" },
      { kind: "conflict", servers: ["east", "west"] },
      { kind: "close", result: { result: "inconclusive" } },
    ]);
  });

  it("a third proof adds nothing to the conflict", () => {
    const plan = forkPlan([["a", "b", "c"]]);
    const { effects } = run("MESSAGE", plan, [end("a", 200), end("b", 200), end("c", 200)]);
    expect(effects.filter((effect) => effect.kind === "conflict")).toHaveLength(1);
    expect(effects.filter((effect) => effect.kind === "unlearn")).toHaveLength(1);
    expect(effects.filter((effect) => effect.kind === "learn")).toHaveLength(1);
  });

  it("is decided at the deadline: 480 where nobody answered", () => {
    const { steps } = run("MESSAGE", TWO, [end("east", 404), DEADLINE]);
    expect(steps[2]).toEqual([
      { kind: "answer", status: 480 },
      { kind: "close", result: { result: "inconclusive" } },
    ]);
  });

  it("is decided at the deadline: what was answered is forwarded", () => {
    const { steps } = run("MESSAGE", TWO, [end("east", 407), DEADLINE]);
    expect(steps[2]?.[0]).toMatchObject({ kind: "forward", server: "east", status: 407 });
  });

  it("absorbs what comes after the deadline, but learns of it (RFC 4320)", () => {
    const { steps } = run("MESSAGE", TWO, [DEADLINE, end("east", 200), end("west", 404)]);
    expect(steps[2]).toEqual([{ kind: "learn", server: "east" }]);
    expect(steps[3]).toEqual([]);
  });

  it("retracts after the deadline too", () => {
    const { steps } = run("MESSAGE", TWO, [end("east", 200), DEADLINE, end("west", 200)]);
    expect(closing(steps.flat())).toEqual({ result: "learned", server: "east" });
    expect(kinds(steps[3]!)).toEqual(["unlearn", "conflict"]);
  });

  it("sends no CANCEL: that is for INVITE", () => {
    expect(kinds(run("MESSAGE", TWO, [end("east", 603), end("west", 404)]).effects)).toEqual([
      "ask",
      "forward",
      "close",
    ]);
  });

  it("takes a branch's end once", () => {
    const { effects } = run("MESSAGE", TWO, [end("east", 404), end("east", 200), end("west", 404)]);
    expect(finals(effects)).toHaveLength(1);
    expect(closing(effects)).toEqual({ result: "all-said-404" });
  });

  it("ignores a server that was not asked", () => {
    expect(run("MESSAGE", TWO, [end("north", 200)]).steps[1]).toEqual([]);
  });
});

describe("the second stage", () => {
  const plan = forkPlan([["east", "west"], ["open"]], { provers: ["east", "west"] });

  it("is asked when all of the first said not here", () => {
    const { steps } = run("MESSAGE", plan, [end("east", 404), end("west", 410)]);
    expect(steps[1]).toEqual([]);
    expect(steps[2]).toEqual([{ kind: "ask", servers: ["open"] }]);
  });

  for (const [title, ending] of [
    ["could not be asked", "timeout"],
    ["answered", 403],
    ["accepted without proof", 202],
  ] as const) {
    it(`is not asked where one of the first ${title}`, () => {
      const { effects } = run("MESSAGE", plan, [end("east", ending), end("west", 404)]);
      expect(effects.filter((effect) => effect.kind === "ask")).toHaveLength(1);
      expect(finals(effects)).toHaveLength(1);
      expect(finals(effects)[0]).not.toMatchObject({ status: 404 });
    });
  }

  it("is not asked after the deadline", () => {
    const { effects } = run("MESSAGE", plan, [end("east", 404), DEADLINE, end("west", 404)]);
    expect(effects.filter((effect) => effect.kind === "ask")).toHaveLength(1);
    expect(finals(effects)).toEqual([{ kind: "answer", status: 480 }]);
  });

  it("forwards its success and learns nothing of a server that accepts anyone", () => {
    const { effects } = run("MESSAGE", plan, [end("east", 404), end("west", 404), end("open", 200)]);
    expect(kinds(effects)).toEqual(["ask", "ask", "forward", "close"]);
    expect(closing(effects)).toEqual({ result: "inconclusive" });
  });

  it("answers 404 where it said not here as well", () => {
    const { effects } = run("MESSAGE", plan, [end("east", 404), end("west", 404), end("open", 404)]);
    expect(finals(effects)).toMatchObject([{ status: 404 }]);
    expect(closing(effects)).toEqual({ result: "all-said-404" });
  });
});

describe("a fork of SUBSCRIBE", () => {
  it("learns from a 2xx that an active NOTIFY follows, not from the 2xx", () => {
    const { steps } = run("SUBSCRIBE", TWO, [end("east", 200), end("west", 404), notify("east", "active")]);
    expect(kinds(steps[1]!)).toEqual(["forward"]);
    expect(steps[2]).toEqual([]);
    expect(steps[3]).toEqual([
      { kind: "notify", server: "east", accepted: true },
      { kind: "learn", server: "east" },
      { kind: "close", result: { result: "learned", server: "east" } },
    ]);
  });

  it("learns where the NOTIFY overtakes the 2xx", () => {
    const { steps } = run("SUBSCRIBE", TWO, [notify("east", "active"), end("east", 200), end("west", 404)]);
    expect(steps[1]).toEqual([{ kind: "notify", server: "east", accepted: true }]);
    expect(steps[2]).toEqual([
      { kind: "forward", server: "east", status: 200, challenges: [] },
      { kind: "learn", server: "east" },
    ]);
  });

  it("learns nothing from a pending NOTIFY, and later from the active one", () => {
    const { steps } = run("SUBSCRIBE", TWO, [
      end("east", 200),
      end("west", 404),
      notify("east", "pending"),
      notify("east", "active"),
    ]);
    expect(kinds(steps[3]!)).toEqual(["notify", "close"]);
    expect(closing(steps[3]!)).toEqual({ result: "inconclusive" });
    expect(kinds(steps[4]!)).toEqual(["notify", "learn"]);
  });

  it("learns where the subscription was active before its 2xx came, and has ended since", () => {
    const { effects } = run("SUBSCRIBE", TWO, [
      notify("east", "active"),
      notify("east", "terminated"),
      end("east", 200),
      end("west", 404),
    ]);
    expect(closing(effects)).toEqual({ result: "learned", server: "east" });
  });

  it("takes one server's second NOTIFY for no second proof", () => {
    const { effects } = run("SUBSCRIBE", TWO, [
      end("east", 200),
      end("west", 404),
      notify("east", "active"),
      notify("east", "active"),
    ]);
    expect(effects.filter((effect) => effect.kind === "learn")).toHaveLength(1);
    expect(effects.filter((effect) => effect.kind === "conflict")).toEqual([]);
  });

  it("learns nothing of a server without the mark", () => {
    const plan = forkPlan([["open"]], { provers: [] });
    const { effects } = run("SUBSCRIBE", plan, [end("open", 200), notify("open", "active")]);
    expect(kinds(effects)).toEqual(["ask", "forward", "close", "notify"]);
  });

  it("makes one dialog: the first whose 2xx came; the NOTIFYs of others are refused (RFC 3856 6.9)", () => {
    const { steps } = run("SUBSCRIBE", TWO, [
      end("east", 200),
      end("west", 200),
      notify("west", "pending"),
      notify("east", "active"),
    ]);
    expect(kinds(steps[2]!)).toEqual([]);
    expect(steps[3]).toEqual([{ kind: "notify", server: "west", accepted: false }]);
    expect(steps[4]?.[0]).toEqual({ kind: "notify", server: "east", accepted: true });
  });

  it("makes one dialog: the first whose NOTIFY came; the 2xx of others are absorbed", () => {
    const { steps } = run("SUBSCRIBE", TWO, [notify("west", "active"), end("east", 200), end("west", 200)]);
    expect(steps[2]).toEqual([]);
    expect(steps[3]?.[0]).toEqual({ kind: "forward", server: "west", status: 200, challenges: [] });
  });

  it("two servers that accept and notify active are a conflict", () => {
    const { effects } = run("SUBSCRIBE", TWO, [
      end("east", 200),
      notify("east", "active"),
      end("west", 200),
      notify("west", "active"),
    ]);
    expect(effects).toContainEqual({ kind: "conflict", servers: ["east", "west"] });
    expect(closing(effects)).toEqual({ result: "inconclusive" });
  });

  it("is closed at the deadline where no NOTIFY comes", () => {
    const { steps } = run("SUBSCRIBE", TWO, [end("east", 200), end("west", 404), DEADLINE]);
    expect(steps[3]).toEqual([{ kind: "close", result: { result: "inconclusive" } }]);
  });

  it("answers 480, not 404, where the success was absorbed and the chosen branch failed", () => {
    const { effects } = run("SUBSCRIBE", TWO, [notify("west", "terminated"), end("east", 200), end("west", 404)]);
    expect(finals(effects)).toEqual([{ kind: "answer", status: 480 }]);
  });
});

describe("a fork of INVITE", () => {
  it("no-cancel (RFC 3841 9.1): a success cancels nobody, and every other one goes upstream too; a 6xx and the caller do", () => {
    const plan = { ...forkPlan([["a", "b", "c"]]), ringsOn: true };
    const cancels = (...events: readonly ForkEvent[]) =>
      run("INVITE", plan, events)
        .steps.slice(1)
        .map((effects) => effects.flatMap((each) => (each.kind === "cancel" ? each.servers : [])));
    expect(cancels(end("a", 200), end("b", 200), end("c", 486))).toEqual([[], [], []]);
    const { steps } = run("INVITE", plan, [end("a", 200), end("b", 200), end("c", 486)]);
    const finals = steps.flatMap((effects) =>
      effects.flatMap((each) => (each.kind === "forward" ? [each.server] : [])),
    );
    expect(finals).toEqual(["a", "b"]);
    expect(cancels(end("a", 200), end("b", 603))).toEqual([[], ["c"]]);
    expect(cancels(end("a", 603))).toEqual([["b", "c"]]);
    expect(cancels(CANCELLED)).toEqual([["a", "b", "c"]]);
  });

  it("forwards every 2xx and cancels the other branches (RFC 3261 16.7 steps 5 and 10)", () => {
    const { steps } = run("INVITE", forkPlan([["a", "b", "c"]]), [end("a", 200), end("b", 200), end("a", 200)]);
    expect(steps[1]).toEqual([
      { kind: "forward", server: "a", status: 200, challenges: [] },
      { kind: "cancel", servers: ["b", "c"] },
      { kind: "learn", server: "a" },
    ]);
    expect(steps[2]?.[0]).toEqual({ kind: "forward", server: "b", status: 200, challenges: [] });
    expect(steps[3]).toEqual([{ kind: "forward", server: "a", status: 200, challenges: [] }]);
  });

  it("a 6xx cancels the others and is forwarded when they have ended", () => {
    const { steps } = run("INVITE", TWO, [end("east", 603), end("west", 487)]);
    expect(steps[1]).toEqual([{ kind: "cancel", servers: ["west"] }]);
    expect(steps[2]?.[0]).toEqual({ kind: "forward", server: "east", status: 603, challenges: [] });
  });

  it("a 604 of one partition cancels nothing", () => {
    const { steps } = run("INVITE", TWO, [end("east", 604), end("west", 200)]);
    expect(steps[1]).toEqual([]);
    expect(steps[2]?.[0]).toMatchObject({ kind: "forward", server: "west", status: 200 });
  });

  it("goes on ringing past the deadline; the fork is closed then", () => {
    const { steps } = run("INVITE", TWO, [DEADLINE, end("east", 404), end("west", 200)]);
    expect(steps[1]).toEqual([{ kind: "close", result: { result: "inconclusive" } }]);
    expect(kinds(steps[3]!)).toEqual(["forward", "learn"]);
  });

  for (const [title, event] of [
    ["after the deadline", DEADLINE],
    ["when the sender has taken it back", CANCELLED],
  ] as const) {
    it(`asks no second stage ${title}: 480`, () => {
      const plan = forkPlan([["east"], ["west"]], { provers: ["east"] });
      const { effects } = run("INVITE", plan, [event, end("east", 404)]);
      expect(effects.filter((effect) => effect.kind === "ask")).toHaveLength(1);
      expect(finals(effects)).toEqual([{ kind: "answer", status: 480 }]);
    });
  }

  it("taken back by the sender: cancels every open branch and asks nobody else", () => {
    const plan = forkPlan([["east", "west"], ["open"]], { provers: ["east", "west"] });
    const { steps } = run("INVITE", plan, [end("east", 404), CANCELLED, end("west", 487)]);
    expect(steps[2]).toEqual([{ kind: "cancel", servers: ["west"] }]);
    expect(kinds(steps[3]!)).toEqual(["forward", "close"]);
    expect(steps[3]?.[0]).toMatchObject({ server: "west", status: 487 });
  });
});

// ── for any order of events ──────────────────────────────────────────────────

const STATUSES: readonly Ending[] = [
  200,
  202,
  302,
  401,
  403,
  404,
  407,
  410,
  480,
  482,
  486,
  500,
  501,
  503,
  600,
  603,
  604,
  "timeout",
  "transport-error",
];
const SERVERS = ["a", "b", "c", "d", "e"];

interface World {
  readonly method: string;
  readonly plan: ForkPlan;
  readonly endings: Readonly<Record<string, Ending>>;
  readonly events: readonly ForkEvent[];
}

/** Every server ends in some way, NOTIFYs and the deadline fall anywhere, the order is any. */
const arbitraryWorld: fc.Arbitrary<World> = fc
  .record({
    method: fc.constantFrom("MESSAGE", "SUBSCRIBE", "INVITE"),
    split: fc.integer({ min: 1, max: 4 }),
    count: fc.integer({ min: 1, max: 4 }),
    provers: fc.subarray(SERVERS),
    unasked: fc.boolean(),
    endings: fc.array(fc.constantFrom(...STATUSES), { minLength: 5, maxLength: 5 }),
    notifies: fc.array(
      fc.tuple(fc.constantFrom(...SERVERS), fc.constantFrom<NotifyState>("active", "pending", "terminated")),
      { maxLength: 4 },
    ),
    order: fc.array(fc.nat(), { minLength: 40, maxLength: 40 }),
    deadline: fc.boolean(),
    cancelled: fc.boolean(),
  })
  .map((raw) => {
    const names = SERVERS.slice(0, raw.count);
    const stages = [names.slice(0, raw.split), names.slice(raw.split)].filter((stage) => stage.length > 0);
    const plan = forkPlan(stages, { provers: raw.provers, unasked: raw.unasked ? ["e"] : [] });
    const endings = Object.fromEntries(names.map((name, index) => [name, raw.endings[index]!]));
    const pool: ForkEvent[] = names.map((name) => end(name, endings[name]!));
    if (raw.method === "SUBSCRIBE") pool.push(...raw.notifies.map(([name, state]) => notify(name, state)));
    if (raw.deadline) pool.push(DEADLINE);
    if (raw.cancelled && raw.method === "INVITE") pool.push(CANCELLED);
    const events: ForkEvent[] = [];
    for (const at of raw.order) if (pool.length > 0) events.push(...pool.splice(at % pool.length, 1));
    // Branches of the second stage may have ended too early in this order: they end now, and then time runs out.
    events.push(...names.map((name) => end(name, endings[name]!)), DEADLINE);
    return { method: raw.method, plan, endings, events };
  });

describe("for any order of events", () => {
  const holds = (title: string, law: (world: World, run: Run) => void): void => {
    it(title, () => {
      fc.assert(
        fc.property(arbitraryWorld, (world) => law(world, run(world.method, world.plan, world.events))),
        runs(3000),
      );
    });
  };

  holds("there is exactly one final answer, but for further 2xx to an INVITE", (world, { effects }) => {
    const [first, ...more] = finals(effects);
    expect(first).toBeDefined();
    for (const each of more) {
      expect(world.method).toBe("INVITE");
      expect(each).toMatchObject({ kind: "forward" });
      expect(meaningOf((each as { status: number }).status)).toBe("here");
    }
  });

  holds("it is closed exactly once", (_, { effects }) => {
    expect(effects.filter((effect) => effect.kind === "close")).toHaveLength(1);
  });

  holds("a fork with anything unasked never ends in 404, and is never remembered so", (world, { effects, state }) => {
    const unasked = world.plan.unasked.length > 0 || state.asked.length < world.plan.stages.flat().length;
    if (!unasked) return;
    for (const final of finals(effects)) expect(final).not.toMatchObject({ status: 404 });
    expect(closing(effects)).not.toEqual({ result: "all-said-404" });
  });

  holds("it is remembered as 404 only where every server said so", (world, { effects, state }) => {
    if (closing(effects)?.result !== "all-said-404") return;
    expect(state.asked).toEqual(world.plan.stages.flat());
    for (const each of state.ended) expect(meaningOf(each.ending)).toBe("not-here");
  });

  holds("nothing is learned but from a prover's success", (world, { effects }) => {
    for (const effect of effects) {
      if (effect.kind !== "learn") continue;
      expect(world.plan.provers).toContain(effect.server);
      expect(meaningOf(world.endings[effect.server]!)).toBe("here");
    }
  });

  holds("what is learned in the end has one prover only", (_, { effects, state }) => {
    const learned = effects.filter((effect) => effect.kind === "learn").length;
    const unlearned = effects.filter((effect) => effect.kind === "unlearn").length;
    expect(learned - unlearned).toBe(state.proven.length === 1 ? 1 : 0);
    if (state.proven.length > 1) expect(effects.filter((effect) => effect.kind === "conflict")).toHaveLength(1);
  });

  holds("the second stage is asked only when all of the first have said not here", (world, { effects }) => {
    if (effects.filter((effect) => effect.kind === "ask").length < 2) return;
    for (const server of world.plan.stages[0]!) expect(meaningOf(world.endings[server]!)).toBe("not-here");
  });

  holds("every server is asked at most once", (_, { effects }) => {
    const asked = effects.flatMap((effect) => (effect.kind === "ask" ? effect.servers : []));
    expect(new Set(asked).size).toBe(asked.length);
  });

  holds("a success that came in time is the final answer", (world) => {
    if (world.method === "SUBSCRIBE") return;
    const inTime = run(world.method, world.plan, world.events.slice(0, world.events.indexOf(DEADLINE)));
    if (!inTime.state.ended.some((each) => meaningOf(each.ending) === "here")) return;
    const [first] = finals(inTime.effects);
    expect(first?.kind).toBe("forward");
    expect(meaningOf((first as { status: number }).status)).toBe("here");
  });

  holds("CANCEL is for INVITE, and only for branches still open", (world, { effects }) => {
    const cancels = effects.filter((effect) => effect.kind === "cancel");
    if (world.method !== "INVITE") expect(cancels).toEqual([]);
    for (const cancel of cancels) expect(cancel.servers.length).toBeGreaterThan(0);
  });

  holds("a subscription has one dialog: one server's NOTIFYs are accepted", (_, { effects }) => {
    const accepted = effects.filter((effect) => effect.kind === "notify" && effect.accepted);
    const servers = new Set(accepted.map((effect) => (effect as { server: string }).server));
    expect(servers.size).toBeLessThanOrEqual(1);
    const forwarded = effects.find((effect) => effect.kind === "forward" && effect.status < 300);
    if (servers.size === 1 && forwarded !== undefined)
      expect(servers).toContain((forwarded as { server: string }).server);
  });
});

/** A user's several servers, each asked at most once: what comes out, worked out in the plainest way. */
interface Spread {
  readonly method: "MESSAGE" | "INVITE";
  readonly stages: readonly (readonly string[])[];
  readonly moveOn: "untaken" | "failed";
  readonly instead: Readonly<Record<string, readonly string[]>>;
  readonly endings: Readonly<Record<string, Ending>>;
  readonly unasked: readonly string[];
}

/** Every branch ends before the next stage, in the order of asking, and nothing is cancelled. */
function plainly({ method, stages, moveOn, instead, endings, unasked }: Spread) {
  const asked: string[] = [];
  let taken: string | undefined;
  let refused = false;
  let stage = 0;
  for (; stage < stages.length; stage++) {
    const queue = [...stages[stage]!];
    asked.push(...queue);
    for (let i = 0; i < queue.length; i++) {
      const server = queue[i]!;
      const ending = endings[server]!;
      const meaning = meaningOf(ending);
      if (meaning === "here") taken ??= server;
      if (typeof ending === "number" && ending >= 600 && ending !== 604) refused = true;
      const out = ending !== 482 && (meaning === "not-here" || meaning === "could-not-ask");
      if (!out || refused || (method === "INVITE" && taken !== undefined)) continue;
      const more = (instead[server] ?? []).filter((each) => !asked.includes(each));
      asked.push(...more);
      queue.push(...more);
    }
    const leads = (server: string) => {
      const meaning = meaningOf(endings[server]!);
      return meaning === "not-here" || meaning === "could-not-ask" || moveOn === "failed";
    };
    if (taken !== undefined || refused || !asked.every(leads)) break;
  }
  const complete = unasked.length === 0 && stage >= stages.length - 1;
  const failures = asked
    .map((server) => ({ server, ending: endings[server]! }))
    .filter((each) => meaningOf(each.ending) !== "here");
  return { asked, answer: taken ?? bestAnswer(failures, complete) };
}

const arbitrarySpread: fc.Arbitrary<Spread> = fc
  .record({
    method: fc.constantFrom("MESSAGE" as const, "INVITE" as const),
    cuts: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    moveOn: fc.constantFrom("untaken" as const, "failed" as const),
    below: fc.subarray(["d", "e"]),
    parent: fc.constantFrom("a", "b", "c"),
    endings: fc.array(fc.constantFrom(...STATUSES), { minLength: 5, maxLength: 5 }),
    unasked: fc.boolean(),
  })
  .map(({ cuts, below, parent, endings, unasked, ...rest }) => {
    const stages: string[][] = [];
    for (const [i, name] of ["a", "b", "c"].entries()) {
      if (i === 0 || cuts[i]) stages.push([name]);
      else stages.at(-1)!.push(name);
    }
    return {
      ...rest,
      stages,
      instead: { [parent]: below },
      endings: Object.fromEntries(SERVERS.map((name, i) => [name, endings[i]!])),
      unasked: unasked ? ["f"] : [],
    };
  });

describe("a request for a user of several servers", () => {
  it("asks whom, and answers what, the plainest account of it says", () => {
    fc.assert(
      fc.property(arbitrarySpread, (spread) => {
        const { method, stages, moveOn, instead, endings, unasked } = spread;
        const plan = { ...forkPlan(stages, { provers: [], unasked }), moveOn, instead };
        let { state, effects } = startFork(method, plan);
        const all = [...effects];
        const queue: string[] = [];
        const take = () => {
          for (const effect of effects) if (effect.kind === "ask") queue.push(...effect.servers);
        };
        take();
        for (let i = 0; i < queue.length; i++) {
          ({ state, effects } = stepFork(state, end(queue[i]!, endings[queue[i]!]!)));
          all.push(...effects);
          take();
        }
        const expected = plainly(spread);
        expect(state.asked).toEqual(expected.asked);
        const [first] = finals(all);
        if (typeof expected.answer === "string")
          expect(first).toMatchObject({ kind: "forward", server: expected.answer });
        else expect(first).toEqual(expected.answer);
        expect(kinds(all).filter((kind) => kind === "learn" || kind === "conflict")).toEqual([]);
      }),
      runs(5000),
    );
  });
});

describe("a request for a user of several servers, whatever comes when", () => {
  const story = fc.record({
    spread: arbitrarySpread,
    order: fc.array(fc.nat(), { minLength: 20, maxLength: 20 }),
    deadline: fc.option(fc.nat({ max: 8 }), { nil: undefined }),
    cancelled: fc.option(fc.nat({ max: 8 }), { nil: undefined }),
  });

  it("nobody is asked twice, nobody after the end, one final answer goes out, and it is closed once", () => {
    fc.assert(
      fc.property(story, ({ spread, order, deadline, cancelled }) => {
        const { method, stages, moveOn, instead, endings, unasked } = spread;
        const plan = { ...forkPlan(stages, { provers: [], unasked }), moveOn, instead };
        let { state, effects } = startFork(method, plan);
        const all: ForkEffect[] = [];
        const asked: string[] = [];
        const open: string[] = [];
        let over = false;
        const take = (): void => {
          for (const effect of effects) {
            if (effect.kind !== "ask") continue;
            expect(over).toBe(false);
            asked.push(...effect.servers);
            open.push(...effect.servers);
          }
          all.push(...effects);
        };
        take();
        for (const [at, draw] of order.entries()) {
          if (at === cancelled && method === "INVITE") {
            ({ state, effects } = stepFork(state, CANCELLED));
            over = true;
            take();
          }
          if (at === deadline) {
            ({ state, effects } = stepFork(state, DEADLINE));
            over ||= method === "MESSAGE";
            take();
          }
          if (open.length === 0) continue;
          const [server] = open.splice(draw % open.length, 1);
          const ending = endings[server!]!;
          if (typeof ending === "number" && ending >= 600 && ending !== 604) over = true;
          if (method === "INVITE" && meaningOf(ending) === "here") over = true;
          ({ state, effects } = stepFork(state, end(server!, ending)));
          take();
        }
        expect(open).toEqual([]);
        expect(new Set(asked).size).toBe(asked.length);
        const [first, ...more] = finals(all);
        expect(first).toBeDefined();
        for (const each of more)
          expect([method, meaningOf((each as { status: number }).status)]).toEqual(["INVITE", "here"]);
        expect(all.filter((effect) => effect.kind === "close")).toHaveLength(1);
        if (unasked.length > 0) for (const final of finals(all)) expect(final).not.toMatchObject({ status: 404 });
      }),
      runs(5000),
    );
  });
});
