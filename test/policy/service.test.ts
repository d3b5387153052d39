import { describe, expect, it } from "vitest";
import type { Change } from "../../src/directory/directory.ts";
import { createMemoryDatabase } from "../../src/directory/memory.ts";
import type { DocumentKind } from "../../src/directory/user-documents.ts";
import { checkRules } from "../../src/policy/check-rules.ts";
import type { Defaults } from "../../src/policy/decider.ts";
import type { PolicyOptions, Way } from "../../src/policy/options.ts";
import type { Question } from "../../src/policy/policy.ts";
import { PolicyService } from "../../src/policy/service.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { ALL, ANYBODY, handling, one, rule, ruleset } from "../support/rules.ts";

const ALICE = "alice@example.com";

const ways = (way: Way, defaults: Defaults = { presence: "confirm", contact: "allow" }): PolicyOptions => ({
  domains: { "example.com": { way, ...defaults }, "lab.example.com": { way: "distributed", ...defaults } },
  point: null,
});

async function house(options: PolicyOptions = ways("root-only")) {
  const simulation = createSimulation({ seed: 1 });
  const runtime = simulation.runtime(["10.0.0.1"]);
  const database = createMemoryDatabase(runtime, { latencyMs: [1, 5] });
  const [directory, other] = [database.directory("east"), database.directory("west")];
  await simulation.finish(Promise.all([directory.start(), other.start()]));
  const policy = new PolicyService({ runtime, telemetry: new Telemetry(), directory }, options);
  const told: (string | null)[] = [];
  policy.onChange((aor) => told.push(aor));
  const asked = (watcher: string, more: Partial<Question> = {}) =>
    simulation.finish(
      Promise.resolve(policy.watcher({ watcher, trusted: true, aor: ALICE, event: "presence", ...more })),
    );
  const sent = (watcher: string, method: "MESSAGE" | "INVITE" = "MESSAGE", more: Partial<Question> = {}) =>
    simulation.finish(
      Promise.resolve(policy.sender({ watcher, trusted: true, aor: ALICE, event: "", ...more }, method)),
    );
  const write = (kind: DocumentKind, text: string, by = directory) =>
    simulation.finish(by.documents.put(ALICE, kind, text, {}, "alice"));
  const stop = async () => {
    policy.stop();
    await simulation.finish(Promise.all([directory.stop(), other.stop()]));
  };
  return { simulation, runtime, database, directory, other, policy, told, asked, sent, write, stop };
}

const FRIENDS = ruleset(
  rule("friends", one("bob@example.com"), handling("allow"), ALL),
  rule(
    "work",
    '<cp:identity><cp:many domain="work.example"/></cp:identity>',
    handling("allow"),
    "<provide-services><all-services/></provide-services>",
  ),
  rule("rest", ANYBODY, handling("polite-block")),
);

describe("ways root-only and central: users' rules decide", () => {
  it.each(["root-only", "central"] as const)(
    "%s: by the rules in the directory, transformations included",
    async (way) => {
      const { asked, write, stop } = await house(ways(way));
      await write("pres-rules", FRIENDS);
      expect(await asked("bob@example.com")).toMatchObject({
        handling: "allow",
        transform: null,
        transformKey: "",
        rule: "rule friends, rest",
        until: null,
        bySphere: false,
        known: true,
      });
      const work = await asked("carol@work.example");
      expect(work).toMatchObject({ handling: "allow", rule: "rule work, rest" });
      expect(work.transform).not.toBeNull();
      expect((await asked("dave@work.example")).transform).toBe(work.transform);
      expect(await asked("mallory@evil.example")).toMatchObject({
        handling: "polite-block",
        transform: null,
        transformKey: "",
      });
      expect(await asked("bob@example.com", { trusted: false })).toMatchObject({ handling: "block", rule: "no rule" });
      await stop();
    },
  );

  it("a user without rules has the default of his domain; of what is in no domain of ours nothing is decided", async () => {
    const { asked, sent, policy, stop } = await house(
      ways("root-only", { presence: "polite-block", contact: "block" }),
    );
    expect(await asked("bob@example.com")).toMatchObject({ handling: "polite-block", rule: "default" });
    expect(await sent("bob@example.com")).toEqual({ allowed: false, rule: "default", known: true });
    for (const aor of ["x@lab.example.com", "x@elsewhere.example"]) {
      expect(await asked("bob@example.com", { aor })).toMatchObject({ handling: "allow", rule: "none here" });
      expect(await sent("bob@example.com", "INVITE", { aor })).toMatchObject({ allowed: true });
    }
    expect(policy.defaultsOf(ALICE)).toMatchObject({ presence: "polite-block", contact: "block" });
    expect([policy.wayOf(ALICE), policy.wayOf("x@lab.example.com"), policy.active]).toEqual([
      "root-only",
      "distributed",
      true,
    ]);
    await stop();
  });

  it("a user sees himself, and he alone his watchers (RFC 3857 4.6); other event packages are left to his servers", async () => {
    const { asked, sent, write, stop } = await house();
    await write("pres-rules", ruleset());
    expect(await asked(ALICE)).toMatchObject({ handling: "allow", rule: "the user himself" });
    expect(await asked(ALICE, { trusted: false })).toMatchObject({ handling: "block" });
    expect(await asked(ALICE, { event: "presence.winfo" })).toMatchObject({ handling: "allow" });
    expect(await asked("bob@example.com", { event: "presence.winfo" })).toMatchObject({ handling: "block" });
    expect(await asked("bob@example.com", { event: "dialog" })).toMatchObject({ handling: "allow" });
    await write("im-rules", ruleset());
    expect(await sent(ALICE)).toMatchObject({ allowed: true });
    await stop();
  });

  it("what nobody can read grants nothing (RFC 5025 10)", async () => {
    const { asked, sent, write, stop } = await house(ways("root-only", { presence: "confirm", contact: "allow" }));
    await write("pres-rules", "<no-rules/>");
    await write("im-rules", "<");
    expect(await asked("bob@example.com")).toMatchObject({ handling: "block", known: true });
    expect(await sent("bob@example.com")).toMatchObject({ allowed: false, known: true });
    await stop();
  });

  it("im-rules decide over MESSAGE and INVITE", async () => {
    const { sent, write, stop } = await house();
    await write("im-rules", ruleset(rule("all", ANYBODY, '<im:handling methods="MESSAGE">allow</im:handling>')));
    expect(await sent("bob@example.com")).toEqual({ allowed: true, rule: "rule all", known: true });
    expect(await sent("bob@example.com", "INVITE")).toEqual({ allowed: false, rule: "no rule", known: true });
    expect(await sent("bob@example.com", "MESSAGE", { trusted: false })).toMatchObject({ allowed: false });
    await stop();
  });

  it("a change by another proxy is told, and decides from then on; what is known is answered at once", async () => {
    const { simulation, policy, asked, write, other, told, stop } = await house();
    expect(await asked("bob@example.com")).toMatchObject({ handling: "confirm" });
    await write("pres-rules", FRIENDS, other);
    await simulation.run(() => told.length > 0);
    expect(told).toEqual([ALICE]);
    expect(await asked("bob@example.com")).toMatchObject({ handling: "allow" });
    expect(policy.watcher({ watcher: "x@y", trusted: true, aor: ALICE, event: "presence" })).toMatchObject({
      handling: "polite-block",
    });
    await write("im-routing", "<x/>");
    await simulation.advance(2000);
    expect(told).toEqual([ALICE]);
    await stop();
  });

  it("rules that were read before a change are not kept (concurrency.md 6)", async () => {
    const { simulation, policy, asked, write, stop } = await house();
    const question = { watcher: "bob@example.com", trusted: true, aor: ALICE, event: "presence" };
    for (let n = 0; n < 20; n++) {
      const early = policy.watcher(question);
      await write("pres-rules", n % 2 === 0 ? FRIENDS : ruleset());
      await simulation.finish(Promise.resolve(early));
      expect((await asked("bob@example.com")).handling).toBe(n % 2 === 0 ? "allow" : "block");
      policy.changed(ALICE);
    }
    await stop();
  });

  it("the feed interrupted: nothing that was known is believed, and everybody is judged anew (concurrency.md 6)", async () => {
    let tell: (change: Change) => void = () => undefined;
    let text = FRIENDS;
    const directory = {
      onChange: (listener: typeof tell) => {
        tell = listener;
        return () => undefined;
      },
      tellVerdicts: async () => undefined,
      documents: {
        get: async () => ({ aor: ALICE, kind: "pres-rules" as const, etag: "", text, changedAt: 0 }),
      },
    };
    const runtime = createSimulation({ seed: 1 }).runtime(["10.0.0.1"]);
    const policy = new PolicyService({ runtime, telemetry: new Telemetry(), directory }, ways("root-only"));
    const told: (string | null)[] = [];
    policy.onChange((aor) => told.push(aor));
    const question = { watcher: "bob@example.com", trusted: true, aor: ALICE, event: "presence" };
    expect((await policy.watcher(question)).handling).toBe("allow");
    text = ruleset();
    expect((await policy.watcher(question)).handling).toBe("allow");
    tell({ kind: "reset" });
    expect(told).toEqual([null]);
    expect((await policy.watcher(question)).handling).toBe("block");
    policy.stop();
  });

  it("the database away: what is known decides, what is not is told as unknown and to be asked again soon", async () => {
    const { simulation, runtime, database, asked, sent, write, stop } = await house();
    await write("pres-rules", FRIENDS);
    await asked("bob@example.com");
    database.setAway(true);
    expect(await asked("carol@work.example")).toMatchObject({ handling: "allow", known: true });
    expect(await sent("bob@example.com")).toMatchObject({ allowed: false, known: false });
    const unknown = await asked("bob@example.com", { aor: "ann@example.com" });
    expect(unknown).toMatchObject({ handling: "block", known: false });
    expect(unknown.until).toBeGreaterThan(runtime.clock.wall());
    database.setAway(false);
    await simulation.advance(5000);
    expect(await asked("bob@example.com", { aor: "ann@example.com" })).toMatchObject({
      handling: "confirm",
      known: true,
    });
    await stop();
  });

  it("validity: until when a verdict stands, and another one then", async () => {
    const { simulation, runtime, asked, write, stop } = await house();
    const iso = (ms: number): string => new Date(runtime.clock.wall() + ms).toISOString();
    const until = Date.parse(iso(60_000));
    const window = `<cp:validity><cp:from>${iso(-1000)}</cp:from><cp:until>${iso(60_000)}</cp:until></cp:validity>`;
    await write("pres-rules", ruleset(rule("now", ANYBODY + window, handling("allow"), ALL)));
    expect(await asked("bob@example.com")).toMatchObject({ handling: "allow", until });
    await simulation.advance(60_000);
    expect(await asked("bob@example.com")).toMatchObject({ handling: "block", until: null });
    await stop();
  });

  it("sphere: it is told that it matters, and decides where it is known", async () => {
    const { asked, write, stop } = await house();
    await write("pres-rules", ruleset(rule("work", `${ANYBODY}<cp:sphere value="work"/>`, handling("allow"), ALL)));
    expect(await asked("bob@example.com")).toMatchObject({ handling: "block", bySphere: true });
    expect(await asked("bob@example.com", { sphere: "Work" })).toMatchObject({ handling: "allow", bySphere: true });
    await stop();
  });
});

describe("configuring", () => {
  it("another way decides at once, and everybody is judged anew; the same again tells nobody", async () => {
    const { policy, asked, write, told, stop } = await house();
    await write("pres-rules", FRIENDS);
    told.length = 0;
    policy.configure(ways("distributed"));
    expect([told, policy.active]).toEqual([[null], false]);
    expect(await asked("mallory@evil.example")).toMatchObject({ handling: "allow" });
    policy.configure(ways("distributed"));
    policy.configure(ways("central"));
    expect(told).toEqual([null, null]);
    expect(await asked("mallory@evil.example")).toMatchObject({ handling: "polite-block" });
    await stop();
  });

  it("a push drops what is remembered", async () => {
    const { simulation, database, policy, told, stop } = await house();
    policy.changed(ALICE);
    await simulation.advance(2000);
    policy.changed(null);
    await simulation.advance(2000);
    expect(told).toEqual([ALICE, null]);
    // With the database away nobody else can be told.
    database.setAway(true);
    policy.changed(ALICE);
    await simulation.advance(2000);
    expect(told.slice(2)).toContain(ALICE);
    database.setAway(false);
    await stop();
  });
});

describe("explain", () => {
  it("tells which rule decided, and why the others did not", async () => {
    const { simulation, policy, write, stop } = await house();
    const explain = (watcher: string, method: "MESSAGE" | null = null, trusted = true) =>
      simulation.finish(
        policy.explain({ watcher, trusted, aor: ALICE, event: method === null ? "presence" : "" }, method),
      );
    expect((await explain("bob@example.com")).lines).toEqual([
      "policy root-only: confirm, by default",
      "he has no rules of his own",
    ]);
    const sphere = rule("sphere", '<cp:sphere value="work"/>', handling("allow"));
    const late = rule(
      "late",
      "<cp:validity><cp:from>2020-01-01T00:00:00Z</cp:from><cp:until>2021-01-01T00:00:00Z</cp:until></cp:validity>",
    );
    const odd = rule("odd", '<x:moon xmlns:x="urn:x"/>');
    await write("pres-rules", FRIENDS.replace("</cp:ruleset>", `${sphere}${late}${odd}</cp:ruleset>`));
    const told = await explain("carol@work.example");
    expect(told).toMatchObject({ way: "root-only", decision: "allow", rule: "rule work, rest", until: null });
    expect(told.lines).toEqual([
      "policy root-only: allow, by rule work, rest",
      "rule friends does not match: it is for others",
      "rule work matches: allow",
      "rule rest matches: polite-block",
      "rule sphere does not match: the user's sphere is not known",
      "rule late does not match: it is not its time",
      "rule odd does not match: a condition in it is not understood",
      "shown: all services; no persons; no devices",
    ]);
    expect((await explain("carol@work.example", null, false)).lines).toContain(
      "rule work does not match: it names people, and he has not proved who he is",
    );
    await write("im-rules", ruleset(rule("m", ANYBODY, '<im:handling methods="INVITE">allow</im:handling>')));
    expect((await explain("bob@example.com", "MESSAGE")).lines).toEqual([
      "policy root-only: block, by no rule",
      "rule m matches: says nothing of MESSAGE",
    ]);
    await stop();
  });
});

describe("checking rules that are about to be stored", () => {
  it("tells errors and warnings of both kinds", () => {
    expect(checkRules("pres-rules", FRIENDS)).toEqual([]);
    expect(checkRules("im-rules", FRIENDS).every((each) => each.severity === "warning")).toBe(true);
    expect(checkRules("pres-rules", "<a/>")).toEqual([
      { severity: "error", rule: "", message: "It is no rule set (RFC 4745)." },
    ]);
    expect(checkRules("im-rules", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')[0]?.severity).toBe("error");
  });
});
