import { afterEach, describe, expect, it } from "vitest";
import type { DocumentKind } from "../../src/directory/user-documents.ts";
import type { PointOptions, PolicyOptions, Way } from "../../src/policy/options.ts";
import { PolicyService } from "../../src/policy/service.ts";
import { DATA_MODEL_NAMESPACE, RPID_NAMESPACE } from "../../src/presence/pidf.ts";
import { AUTHZEN_DEFAULTS, DecisionPoint } from "../support/decision-point.ts";
import { ANYBODY, handling, one, rule, ruleset } from "../support/rules.ts";
import { ALICE, AOR, told, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";
import { always } from "../support/world.ts";

/**
 * models.md, "Identity and policy", with the deciders of the program: users' rules out of the directory, a decision point
 * over HTTP, and Cedar, over a user on two servers whose document is composed.
 */

const BOB = "bob@example.com";
const AS_BOB = { from: `sip:${BOB}` };

const PERSON =
  `<dm:person xmlns:dm="${DATA_MODEL_NAMESPACE}" xmlns:r="${RPID_NAMESPACE}" id="p"><r:activities><r:away/></r:activities>` +
  "<dm:note>secret</dm:note></dm:person>";
const SERVICES = "<provide-services><all-services/></provide-services>";
const ACTIVITIES = `<provide-persons><all-persons/></provide-persons><provide-activities>true</provide-activities>`;

let domain: Unioned;
let bob: Watcher;
let services: PolicyService[];

afterEach(() => {
  for (const each of services) each.stop();
  return domain.world.stop();
});

/** Bob's own server sends from where he is, so that he is believed. */
async function begin(way: Way, point: PointOptions | null = null, proxies = 1): Promise<void> {
  const options: PolicyOptions = {
    domains: { "example.com": { way, presence: "confirm", contact: "allow" } },
    point,
  };
  domain = new Unioned();
  services = [];
  await domain.begin({
    proxies,
    uris: { home: "sip:127.0.0.50:5060" },
    policy: (parts) => {
      const service = new PolicyService(parts, options);
      services.push(service);
      return service;
    },
    servers: {
      east: { script: (transaction, self) => domain.east.script(transaction, self) },
      west: { script: (transaction, self) => domain.west.script(transaction, self) },
      home: { script: always(404) },
    },
  });
  domain.east.more = PERSON;
  bob = new Watcher(domain.world, "127.0.0.50");
}

function write(text: string, kind: DocumentKind = "pres-rules", proxy = 0) {
  const { documents } = domain.world.proxies[proxy]!.directory;
  return domain.world.simulation.finish(documents.put(AOR, kind, text, {}, "alice"));
}

async function watching(status = 200): Promise<void> {
  expect((await bob.subscribe(ALICE, 600, AS_BOB)).status).toBe(status);
  await domain.wait(1_000);
}

const allowing = (transformations: string): string =>
  ruleset(rule("bob", one(BOB), handling("allow"), transformations));

describe("root-only: the user's rules", () => {
  it("decide what of the composed document a watcher sees, and change it at once where another proxy writes them", async () => {
    await begin("root-only", null, 2);
    await write(allowing(SERVICES));
    await watching();
    expect(told(bob)).toEqual(["pending", "active east open, west open"]);
    expect(bob.last!.body).not.toMatch(/person|activities|secret|data-model|rpid/);
    await write(allowing(SERVICES + ACTIVITIES), "pres-rules", 1);
    await domain.wait(2_000);
    expect(bob.told).toHaveLength(3);
    expect(bob.last!.body).toContain("away");
    expect(bob.last!.body).not.toContain("secret");
    await write(ruleset(rule("bob", one(BOB), handling("polite-block"))), "pres-rules", 1);
    await domain.wait(2_000);
    expect(bob.saw.at(-1)).toBe("active closed");
    expect(bob.last!.body).not.toMatch(/east|west/);
    await write(ruleset(), "pres-rules", 1);
    await domain.wait(2_000);
    expect([bob.saw.at(-1), bob.last!.body]).toEqual(["terminated rejected", ""]);
    expect(bob.told.map(({ body }) => body).join("")).not.toContain("secret");
  });

  it("what nobody shows is nothing new: a change of it is no NOTIFY", async () => {
    await begin("root-only");
    await write(allowing(SERVICES));
    await watching();
    const before = bob.told.length;
    domain.east.more = PERSON.replace("secret", "other");
    domain.east.version--;
    domain.east.notify(domain.east.live[0]!);
    await domain.wait(1_000);
    expect(bob.told).toHaveLength(before);
  });

  it("a rule that ends at a moment ends then", async () => {
    await begin("root-only");
    const at = (ms: number): string => new Date(domain.world.proxies[0]!.runtime.clock.wall() + ms).toISOString();
    const window = `<cp:validity><cp:from>${at(-1000)}</cp:from><cp:until>${at(60_000)}</cp:until></cp:validity>`;
    await write(ruleset(rule("now", ANYBODY + window, handling("allow"), SERVICES)));
    await watching();
    await domain.wait(50_000);
    expect(bob.saw.at(-1)).toBe("active open");
    await domain.wait(12_000);
    expect(bob.saw.at(-1)).toBe("terminated rejected");
  });

  it("who is named in none is asked about: pending, until the user says", async () => {
    await begin("root-only");
    await watching();
    await domain.wait(10_000);
    expect([told(bob), domain.east.firsts.length]).toEqual([["pending"], 0]);
    await write(allowing(SERVICES));
    await domain.wait(2_000);
    expect(told(bob).at(-1)).toBe("active east open, west open");
  });

  it("im-rules refuse a MESSAGE with 403, and nobody gets it", async () => {
    await begin("root-only");
    await write(ruleset(rule("mum", one("mum@example.com"), "<im:handling>allow</im:handling>")), "im-rules");
    expect(await bob.client.status("MESSAGE", ALICE, AS_BOB)).toBe(403);
    expect(await bob.client.status("MESSAGE", ALICE, { from: "sip:mum@example.com" })).not.toBe(403);
    expect(await bob.client.status("INVITE", ALICE, AS_BOB)).toBe(403);
  });

  it("the database away: who is let in already is not turned out, who comes is told so", async () => {
    await begin("root-only");
    await write(allowing(SERVICES));
    await watching();
    domain.world.database.setAway(true);
    await domain.wait(5_000);
    domain.east.notify(domain.east.live[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(bob.saw.at(-1)).toMatch(/^active/);
    const carol = new Watcher(domain.world, "127.0.0.51");
    expect((await carol.subscribe("sip:ann@example.com", 600, AS_BOB)).status).toBe(500);
    domain.world.database.setAway(false);
    await domain.wait(10_000);
    expect(bob.saw.every((each) => !each.startsWith("terminated"))).toBe(true);
  });
});

describe("pdp: a decision point", () => {
  const HOST = "127.0.0.90";
  const OPTIONS: PointOptions = { kind: "authzen", ...AUTHZEN_DEFAULTS, url: `http://${HOST}:8181`, cacheMs: 60_000 };
  let point: DecisionPoint;

  async function asked(options: Partial<PointOptions> = {}, proxies = 1): Promise<void> {
    await begin("pdp", { ...OPTIONS, ...options } as PointOptions, proxies);
    point = new DecisionPoint();
    domain.world.simulation.runtime([HOST]).web.set(8181, point.answer);
  }

  it("decides who may see what, and who may write; a change that is pushed is carried out at once", async () => {
    await asked();
    point.decide = ({ action, subject }) => ({
      decision: subject.id === BOB && action.name === "subscribe",
      context: { provide: { services: "all" } },
    });
    await watching();
    expect(told(bob)).toEqual(["pending", "active east open, west open"]);
    expect(bob.last!.body).not.toContain("person");
    expect(await bob.client.status("MESSAGE", ALICE, AS_BOB)).toBe(403);
    point.decide = () => ({ decision: false });
    await domain.wait(10_000);
    expect(bob.saw.at(-1)).toBe("active open");
    services[0]!.changed(AOR);
    await domain.wait(1_000);
    expect(bob.saw.at(-1)).toBe("terminated rejected");
  });

  it("a change that is pushed to one proxy is carried out by all", async () => {
    await asked({}, 2);
    expect((await bob.subscribe(ALICE, 600, { ...AS_BOB, proxy: "127.0.0.2" })).status).toBe(200);
    await domain.wait(1_000);
    expect(bob.saw.at(-1)).toBe("active open");
    point.decide = () => ({ decision: false });
    services[0]!.changed(null);
    await domain.wait(2_000);
    expect(bob.saw.at(-1)).toBe("terminated rejected");
  });

  it("a change that nobody pushes is carried out when the decision has run out", async () => {
    await asked();
    await watching();
    point.decide = () => ({ decision: false });
    await domain.wait(55_000);
    expect(bob.saw.at(-1)).toBe("active open");
    await domain.wait(7_000);
    expect(bob.saw.at(-1)).toBe("terminated rejected");
  });

  it("away: who comes gets 500, who is there is not turned out and is shown nothing more", async () => {
    await asked();
    await watching();
    point.fault = () => ({ status: 503, headers: {}, body: new Uint8Array() });
    await domain.wait(62_000);
    const before = bob.told.length;
    domain.east.notify(domain.east.live[0]!, undefined, "closed");
    await domain.wait(1_000);
    expect(bob.told.slice(before).filter(({ body }) => body.includes("east"))).toEqual([]);
    const carol = new Watcher(domain.world, "127.0.0.51");
    expect((await carol.subscribe(ALICE, 600, { from: "sip:carol@example.com" })).status).toBe(500);
    expect(await bob.client.status("MESSAGE", ALICE, AS_BOB)).toBe(500);
    point.fault = () => undefined;
    await domain.wait(60_000);
    expect(bob.saw.every((each) => !each.startsWith("terminated"))).toBe(true);
    expect(told(bob).at(-1)).toContain("east closed");
  });
});

describe("pdp: Cedar", () => {
  it("decides by its policies", async () => {
    const text = `
      @provide("services") permit (principal == User::"${BOB}", action == Action::"subscribe", resource);
      permit (principal, action == Action::"message", resource);
      forbid (principal == User::"mallory@example.com", action, resource);`;
    await begin("pdp", { kind: "cedar", file: "test.cedar", text });
    await watching();
    expect(told(bob).at(-1)).toBe("active east open, west open");
    expect(bob.last!.body).not.toContain("person");
    expect(await bob.client.status("MESSAGE", ALICE, { from: "sip:mallory@example.com" })).toBe(403);
    expect(await bob.client.status("INVITE", ALICE, AS_BOB)).toBe(403);
    const mallory = new Watcher(domain.world, "127.0.0.51");
    expect((await mallory.subscribe(ALICE, 600, { from: "sip:mallory@example.com" })).status).toBe(403);
  });
});

describe("root-only: the user's sphere (RFC 5025 3.1.2)", () => {
  const person = (sphere: string): string =>
    `<dm:person xmlns:dm="${DATA_MODEL_NAMESPACE}" xmlns:r="${RPID_NAMESPACE}" id="p"><r:sphere>${sphere}</r:sphere></dm:person>`;

  function say(sphere: string): Promise<void> {
    domain.east.more = person(sphere);
    domain.east.notify(domain.east.live[0]!);
    return domain.wait(1_000);
  }

  it("decides what is shown, of what he publishes and not of what is left of it", async () => {
    await begin("root-only");
    await write(
      ruleset(
        rule("always", one(BOB), handling("allow"), "<provide-services><class>none</class></provide-services>"),
        rule("work", `${one(BOB)}<cp:sphere value="work"/>`, "", SERVICES),
      ),
    );
    domain.east.more = person("home");
    await watching();
    expect(bob.last!.body).not.toContain("<tuple");
    await say("Work");
    expect(told(bob).at(-1)).toBe("active east open, west open");
    expect(bob.last!.body).not.toContain("sphere");
    await say("home");
    expect(bob.last!.body).not.toContain("<tuple");
    expect(bob.saw.every((each) => !each.startsWith("terminated"))).toBe(true);
  });

  it("who is let in by it alone waits until it is known, and goes when it is another", async () => {
    await begin("root-only");
    await write(ruleset(rule("work", `${one(BOB)}<cp:sphere value="work"/>`, handling("allow"), SERVICES)));
    domain.east.more = person("work");
    await watching();
    expect(told(bob).at(-1)).toBe("active east open, west open");
    await say("home");
    expect(bob.saw.at(-1)).toBe("terminated rejected");
  });
});

it("a reload that changes who decides is carried out on those who watch already", async () => {
  await begin("root-only");
  await write(allowing(SERVICES));
  await watching();
  expect(bob.last!.body).not.toContain("secret");
  const by = (way: Way): PolicyOptions => ({
    domains: { "example.com": { way, presence: "confirm", contact: "allow" } },
    point: null,
  });
  services[0]!.configure(by("distributed"));
  await domain.wait(2_000);
  expect(bob.last!.body).toContain("secret");
  services[0]!.configure(by("central"));
  await domain.wait(2_000);
  expect([bob.saw.at(-1), bob.last!.body.includes("secret")]).toEqual(["active open", false]);
});

describe("codomain explain", () => {
  it("says of every request that policy is asked about what it says, and of others nothing", async () => {
    await begin("root-only");
    await write(allowing(SERVICES));
    const { core } = domain.world.proxies[0]!;
    const explain = async (method: string, event?: string) => {
      const question = { method, aor: AOR, from: "home", watcher: BOB, ...(event === undefined ? {} : { event }) };
      return (await domain.world.simulation.finish(core.explain(question))).json;
    };
    expect((await explain("SUBSCRIBE")).policy).toMatchObject({ decision: "allow", rule: "rule bob" });
    expect((await explain("SUBSCRIBE", "message-summary")).policy).toMatchObject({
      decision: "allow",
      rule: "rules do not speak of message-summary",
    });
    expect((await explain("MESSAGE")).policy).toMatchObject({ decision: "allow", rule: "default" });
    expect((await explain("INVITE")).policy).toMatchObject({ decision: "allow", rule: "default" });
    // Who watches is told by this proxy, to the user himself: the plan says it.
    const winfo = await explain("SUBSCRIBE", "presence.winfo");
    expect([winfo.policy, winfo.summary]).toEqual([null, "reject 403 Forbidden"]);
    expect((await explain("PUBLISH")).policy).toBeNull();
  });
});
