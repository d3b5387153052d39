import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BLOCK, POLITE_BLOCK, ScriptedPolicy, without } from "../support/scripted-policy.ts";
import { ALICE, partsOf, told, Unioned } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";
import { always } from "../support/world.ts";

/** models.md, "Composition", "Identity and policy": not one byte after a denial, however long it takes to find the watcher. */

const BOB = "bob@example.com";
const NAME_MS = 4_000;

let domain: Unioned;
let policy: ScriptedPolicy;
let bob: Watcher;

beforeEach(async () => {
  domain = new Unioned();
  policy = new ScriptedPolicy();
  await domain.begin({
    uris: { home: ["sip:127.0.0.50:5060", "sip:127.0.0.51:5060"] },
    policy: policy.of,
    dnsMs: NAME_MS,
    zone: { "slow.example.net": { a: ["127.0.0.50"] } },
    servers: {
      east: { script: (transaction, self) => domain.east.script(transaction, self) },
      west: { script: (transaction, self) => domain.west.script(transaction, self) },
      home: { script: always(404) },
    },
  });
  bob = new Watcher(domain.world, "127.0.0.50");
  const contacts = ["<sip:slow.example.net:5060>"];
  expect((await bob.subscribe(ALICE, 600, { from: `sip:${BOB}`, contacts })).status).toBe(200);
  await domain.wait(60_000);
  expect(told(bob).at(-1)).toBe("active east open, west open");
});

afterEach(() => domain.world.stop());

/** Told of a change; his name is being asked for. */
async function onItsWay(): Promise<void> {
  domain.east.basic = "closed";
  domain.east.notify(domain.east.live[0]!);
  await domain.wait(NAME_MS / 2);
  expect(told(bob).length).toBe(2);
}

const later = (): string[] => told(bob).slice(2);

describe("a NOTIFY that waits for the watcher's name to be resolved", () => {
  it("shows what there is, where nothing has changed", async () => {
    await onItsWay();
    await domain.wait(60_000);
    expect(later()).toEqual(["active east closed, west open"]);
  });

  it("shows nothing once the rules block him", async () => {
    await onItsWay();
    policy.rule(BOB, BLOCK);
    await domain.wait(60_000);
    expect([later().at(-1), bob.told.slice(2).flatMap(({ body }) => partsOf(body))]).toEqual([
      "terminated rejected",
      [],
    ]);
  });

  it("shows nobody once he is blocked politely", async () => {
    await onItsWay();
    policy.rule(BOB, POLITE_BLOCK);
    await domain.wait(60_000);
    expect(later().every((each) => each === "active nobody" || each === "active nobody closed")).toBe(true);
    expect(later().length).toBeGreaterThan(0);
  });

  it("shows no more than the rules show by then", async () => {
    await onItsWay();
    policy.rule(BOB, without("tuple"));
    await domain.wait(60_000);
    expect([later().length > 0, bob.told.slice(2).flatMap(({ body }) => partsOf(body))]).toEqual([true, []]);
  });

  it("shows nothing once a server has denied him (privacy safety)", async () => {
    await onItsWay();
    domain.west.notify(domain.west.live[0]!, "terminated;reason=rejected", null);
    await domain.wait(60_000);
    expect([later().at(-1), bob.told.slice(2).flatMap(({ body }) => partsOf(body))]).toEqual([
      "terminated rejected",
      [],
    ]);
  });
});

describe("the last NOTIFY of one who unsubscribes", () => {
  async function unsubscribed(answer: number): Promise<string[]> {
    bob.answer = answer;
    await onItsWay();
    await domain.wait(NAME_MS);
    await bob.refresh(0);
    bob.answer = 200;
    await domain.wait(120_000);
    return later();
  }

  it("shows him what there is", async () => {
    expect((await unsubscribed(200)).at(-1)).toBe("terminated timeout east closed, west open");
  });

  it("shows nothing where one before it has to be answered first: his servers' denials are not heard any more", async () => {
    expect((await unsubscribed(0)).at(-1)).toBe("terminated timeout");
  });
});
