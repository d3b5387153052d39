import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type ExclusiveDomain, exclusiveDomain } from "../support/exclusive-domain.ts";
import type { Kamailio } from "../support/kamailio.ts";
import { answering, pidf, publishParts, subscribeParts } from "../support/presence.ts";
import { seenBy, story } from "../support/watched.ts";
import { ask, field, type WirePeer, wirePeer } from "../support/wire.ts";

/**
 * An administrator moves users with the command line. Each has an account on both Kamailio servers and a document published
 * on each, so that a watcher can tell which of them he sees.
 */
const USERS = Array.from({ length: 10 }, (_, i) => `user${i}`);

let domain: ExclusiveDomain;
/** Watches everybody. */
let olga: WirePeer;
const calls = new Map<string, string>();

beforeAll(async () => {
  domain = await exclusiveDomain({ first: 161, users: USERS });
  olga = answering(await wirePeer("127.0.0.165"));
  const { east, west, proxy } = domain;
  for (const user of USERS) {
    const aor = `${user}@example.com`;
    await publish(east, aor, "east");
    await publish(west, aor, "west");
    await proxy.api("POST", `/api/v1/users/${aor}/bind`, { server: "east" });
    const answer = await ask(olga, proxy, subscribeParts(olga, aor, "olga@example.com"));
    expect(answer.status).toBe(200);
    calls.set(user, field(answer.text, "Call-ID") ?? "");
  }
});

afterAll(async () => {
  await olga?.close();
  await domain?.stop();
});

const tags = new Map<string, string>();

/** What was published there before is replaced. */
async function publish(server: Kamailio, aor: string, tuple: string): Promise<void> {
  const key = `${server.host} ${aor}`;
  const parts = { ...publishParts(aor, "open", tags.get(key)), body: pidf(aor, "open", tuple) };
  const answer = await ask(olga, server, parts);
  expect(answer.status).toBe(200);
  tags.set(key, field(answer.text, "SIP-ETag") ?? "");
}

const saw = (user: string) => story(seenBy(olga.heard, calls.get(user) ?? ""));

const isAt = async (user: string) => (await domain.proxy.explain("MESSAGE", `${user}@example.com`)).server;

async function everybodyIsAt(server: string): Promise<void> {
  for (const user of USERS) {
    await eventually(`${user} shown at ${server}; ${saw(user)}`, () => saw(user).at(-1) === `active open by ${server}`);
  }
}

/** No NOTIFY but these after the first, which says that it is accepted; in one dialog with its CSeqs in order. */
function expectStory(user: string, documents: readonly string[]): void {
  expect(saw(user)).toEqual(["pending -", ...documents.map((each) => `active open by ${each}`)]);
  const cseqs = seenBy(olga.heard, calls.get(user) ?? "").map((each) => each.cseq);
  expect(cseqs).toEqual(cseqs.map((_, i) => (cseqs[0] ?? 0) + i));
}

describe("watchers of users an administrator moves", () => {
  test("before: each shows what is published on east", async () => {
    await everybodyIsAt("east");
    for (const user of USERS) expectStory(user, ["east"]);
  });

  test("users move: one of them, shown from west on", async () => {
    const { code, stdout } = await domain.proxy.run("users", "move", "user0@example.com", "west");
    expect(code).toBe(0);
    expect(stdout).toContain("moved from east to west");
    await eventually("west's document", () => saw("user0").at(-1) === "active open by west");
    expectStory("user0", ["east", "west"]);
    expectStory("user1", ["east"]);
  });

  test("migrate --from east --to west: the others, and the report says so", async () => {
    const { code, stdout } = await domain.proxy.run(
      "migrate",
      "--from",
      "east",
      "--to",
      "west",
      "--rate",
      "100/s",
      "--make-before-break",
      "--json",
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({ state: "done", total: 9, moved: 9 });
    await everybodyIsAt("west");
    for (const user of USERS) expectStory(user, ["east", "west"]);
  });

  test("migrate --undo: back, each where he was", async () => {
    const { batches } = JSON.parse((await domain.proxy.run("migrate", "--list", "--json")).stdout);
    const id = batches[0].id;
    const { code, stdout } = await domain.proxy.run("migrate", "--undo", id, "--json");
    expect(code).toBe(0);
    expect(JSON.parse(stdout.trim().split("\n").at(-1) ?? "")).toMatchObject({ state: "done", moved: 9 });
    for (const user of USERS.slice(1)) {
      await eventually(`${user} back`, () => saw(user).at(-1) === "active open by east");
      expectStory(user, ["east", "west", "east"]);
    }
    expectStory("user0", ["east", "west"]);
  });

  test("migrate FILE.csv: who is not where the file says is reported and left alone", async () => {
    const file = join(domain.proxy.directory, "moves.csv");
    writeFileSync(file, "aor,server,from\nuser1@example.com,west,east\nuser2@example.com,east,west\n");
    const { stdout, stderr } = await domain.proxy.run("migrate", file);
    await eventually("west's document", () => saw("user1").at(-1) === "active open by west");
    expect(`${stdout}${stderr}`).toContain("user2@example.com");
    expectStory("user2", ["east", "west", "east"]);
  });

  test("what the server he has left goes on to publish is shown to nobody", async () => {
    await publish(domain.east, "user0@example.com", "east-late");
    await publish(domain.west, "user0@example.com", "west-late");
    await eventually("west's document", () => saw("user0").at(-1)?.includes("west"));
    expect(saw("user0").join()).not.toContain("east-late");
  });

  test("none of all these dialogs was ended", async () => {
    for (const user of USERS) expect(saw(user).join()).not.toContain("terminated");
    const { stdout } = await domain.proxy.run("subscriptions", "list", "--json");
    expect(JSON.parse(stdout).subscriptions).toHaveLength(USERS.length);
  });
});

test("kill -9 of the proxy, and the same one again: every dialog goes on, no CSeq goes back", async () => {
  const { proxy, east, west } = domain;
  const before = new Map(USERS.map((user) => [user, seenBy(olga.heard, calls.get(user) ?? "").at(-1)?.cseq ?? 0]));
  await proxy.crashAndRestart();
  for (const user of USERS) await publish((await isAt(user)) === "east" ? east : west, `${user}@example.com`, "after");
  for (const user of USERS) {
    // Nobody sends for what the dead process owned before its lease has run out.
    await eventually(`${user} to be shown; ${saw(user)}`, () => saw(user).at(-1)?.includes("after"), 45_000);
    const cseqs = seenBy(olga.heard, calls.get(user) ?? "").map((each) => each.cseq);
    expect(cseqs).toEqual(cseqs.toSorted((a, b) => a - b));
    expect(cseqs.at(-1)).toBeGreaterThan(before.get(user) ?? 0);
    expect(saw(user).join()).not.toContain("terminated");
  }
  const moved = await proxy.run("users", "move", "user0@example.com", "east");
  expect(moved.code).toBe(0);
  await eventually("user0 shown at east", () => saw("user0").at(-1)?.includes("east-late"));
}, 90_000);
