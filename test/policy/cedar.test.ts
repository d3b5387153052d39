import { describe, expect, it } from "vitest";
import { CodomainError } from "../../src/base/errors.ts";
import { CedarDecider } from "../../src/policy/cedar-decider.ts";
import { checkCedar } from "../../src/policy/cedar-engine.ts";
import type { Question } from "../../src/policy/policy.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";

const ALICE = "alice@example.com";

const POLICIES = `// Alice's friends see what she does.
@id("friends")
@provide("services persons activities user-input=bare")
permit (principal in Domain::"example.com", action == Action::"subscribe", resource == User::"${ALICE}")
when { context.event == "presence" };

@id("boss")
@provide("services.service-uri-scheme=sip devices unknown={urn:x}foo")
permit (principal == User::"boss@example.com", action, resource);

@id("others")
@handling("polite-block")
permit (principal, action == Action::"subscribe", resource);

permit (principal is User, action == Action::"message", resource);
permit (principal is User, action == Action::"invite", resource) when { principal == resource };

@id("mallory")
forbid (principal == User::"mallory@example.com", action, resource);
`;

function decider(text = POLICIES) {
  const simulation = createSimulation({ seed: 1 });
  const runtime = simulation.runtime(["10.0.0.1"]);
  const made = new CedarDecider(runtime, { kind: "cedar", file: "policy.cedar", text } as {
    file: string;
    text: string;
  });
  const question = (watcher: string, more: Partial<Question> = {}): Question => ({
    watcher,
    trusted: true,
    aor: ALICE,
    event: "presence",
    ...more,
  });
  return {
    simulation,
    runtime,
    made,
    question,
    asked: (watcher: string, more: Partial<Question> = {}) => made.watcher(question(watcher, more)),
  };
}

describe("policies in Cedar", () => {
  it("permits are combined as rules are: the highest handling, and all that those who allow provide", async () => {
    const { made, question, asked } = decider();
    expect(asked("bob@example.com")).toMatchObject({
      handling: "allow",
      rule: "cedar policy.cedar: friends, others",
      until: null,
      known: true,
    });
    expect(await made.explain(question("boss@example.com"), null)).toEqual([
      "permitted by friends: allow, shown: all services; all persons; no devices; activities; user-input bare",
      "permitted by boss: allow, shown: services of service-uri-scheme sip; no persons; all devices; {urn:x}foo",
      "permitted by others: polite-block",
    ]);
    expect(asked("eve@elsewhere.example")).toMatchObject({ handling: "polite-block", transform: null });
    // What others than those who allow would provide is not.
    expect(asked("bob@example.com").transform).not.toBeNull();
    expect(asked("bob@example.com", { event: "dialog" })).toMatchObject({ handling: "polite-block" });
  });

  it("a forbid counts before all; who has not proved who he is, is nobody that a policy names", () => {
    const { asked } = decider();
    expect(asked("mallory@example.com")).toMatchObject({ handling: "block", rule: "cedar policy.cedar: mallory" });
    expect(asked("mallory@example.com", { trusted: false })).toMatchObject({ handling: "polite-block" });
    expect(asked("boss@example.com", { trusted: false, aor: "x@y" })).toMatchObject({ handling: "polite-block" });
  });

  it("messages and calls", () => {
    const { made, question } = decider();
    expect(made.sender(question("bob@x.example"), "MESSAGE")).toEqual({
      allowed: true,
      rule: "cedar policy.cedar: policy 4",
      known: true,
    });
    expect(made.sender(question("bob@x.example", { trusted: false }), "MESSAGE").allowed).toBe(false);
    expect(made.sender(question("bob@x.example"), "INVITE")).toMatchObject({
      allowed: false,
      rule: "cedar policy.cedar: no policy permits it",
    });
    expect(made.sender(question(ALICE), "INVITE").allowed).toBe(true);
  });

  it("the sphere and the time: what speaks of the time is looked at again by the minute", async () => {
    const { simulation, runtime, asked } = decider(`
      permit (principal, action, resource) when { context has sphere && context.sphere == "work" };
      permit (principal, action, resource) when { context.time > datetime("2026-01-01T01:00:00Z") };`);
    expect(asked("a@x", { sphere: "work" })).toMatchObject({ handling: "allow", bySphere: true });
    expect(asked("a@x")).toMatchObject({ handling: "block", until: runtime.clock.wall() + 60_000 });
    await simulation.advance(3_600_001);
    expect(asked("a@x")).toMatchObject({ handling: "allow" });
  });

  it("a policy that fails while it is evaluated blocks: it may be the one that forbids", async () => {
    const { made, question, asked } = decider(
      `permit (principal, action, resource);
       forbid (principal, action, resource) when { context.time.offset(duration("106751991167d")) > context.time };`,
    );
    expect(asked("a@x").handling).toBe("block");
    expect((await made.explain(question("a@x"), null))[0]).toMatch(/^a policy failed, so it is blocked: policy 2: /);
  });
});

describe("what is wrong with a policy file", () => {
  it.each([
    ["permit (principl, action, resource);", 1, 9, /principl/],
    ["// é, 𝛼\npermit (principal, action, resource) when { context.evnt == 1 };", 2, 45, /evnt/],
    ['permit (principal, action, resource);\n\npermit (principal == Group::"x", action, resource);', 3, 22, /Group/],
    [
      'permit (principal, action, resource);\n@handling("perhaps")\npermit (principal, action, resource);',
      2,
      1,
      /@handling/,
    ],
    ['// permit\n@provide("services moon")\npermit (principal, action, resource);', 2, 1, /"moon"/],
    ["permit (principal == ?principal, action, resource);", 1, 1, /template/],
  ])("%s", (text, line, column, message) => {
    const [fault, ...more] = checkCedar(text);
    expect(fault).toMatchObject({ line, column });
    expect(fault!.message).toMatch(message);
    expect(more).toEqual([]);
    expect(() => decider(text)).toThrow(CodomainError);
    expect(() => decider(text)).toThrow(`line ${line}`);
  });

  it("nothing, where nothing is", () => {
    expect(checkCedar(POLICIES)).toEqual([]);
    expect(checkCedar("")).toEqual([]);
    expect(decider("").asked("a@x")).toMatchObject({ handling: "block" });
  });
});
