import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EmbeddedPostgres } from "../../src/directory/postgres/embedded.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { answering, pidf, publishParts, registerParts, resubscribeParts, subscribeParts } from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { seenBy, story } from "../support/watched.ts";
import { ask, field, type WirePeer, wirePeer } from "../support/wire.ts";

/** Two proxies on one PostgreSQL. The one that keeps a watcher's dialog is killed; Kamailio carries both ends of it on. */
const ALICE = "alice@example.com";
const FIRST = "127.0.0.243";
const SECOND = "127.0.0.244";

const stops: Array<() => unknown> = [];
let first: RunningProxy;
let second: RunningProxy;
let east: Kamailio;
let west: Kamailio;
let olga: WirePeer;
let desk: WirePeer;
/** The 200 that made olga's dialog. */
let dialog = "";

beforeAll(async () => {
  const directory = mkdtempSync(join(tmpdir(), "takeover-"));
  chmodSync(directory, 0o755);
  stops.push(() => rmSync(directory, { recursive: true, force: true }));
  const postgres = await EmbeddedPostgres.start(createRealRuntime(), new Telemetry(), {
    directory: join(directory, "postgres"),
  });
  stops.push(() => postgres.stop());
  const common = { proxy: `${FIRST}:5060`, model: "exclusive" as const };
  east = await startKamailio({ ...common, host: "127.0.0.245" });
  stops.push(() => east.stop());
  west = await startKamailio({ ...common, host: "127.0.0.246" });
  stops.push(() => west.stop());
  const settings = {
    database: postgres.url,
    servers: { east: `{ uri: "${east.uri}", evict: none }`, west: `{ uri: "${west.uri}", evict: none }` },
    more: 'models: [{ match: "*@example.com", model: exclusive }]',
  };
  first = await startProxy({ ...settings, host: FIRST });
  stops.push(() => first.stop());
  second = await startProxy({ ...settings, host: SECOND });
  stops.push(() => second.stop());
  [olga, desk] = (await Promise.all([wirePeer("127.0.0.247"), wirePeer("127.0.0.248")])).map(answering) as [
    WirePeer,
    WirePeer,
  ];
  stops.push(() => Promise.all([olga.close(), desk.close()]));
});

afterAll(async () => {
  for (const stop of stops.reverse()) await stop();
});

const seen = () => seenBy(olga.heard, field(dialog, "Call-ID") ?? "");

async function publish(server: Kamailio, tuple: string): Promise<void> {
  const answer = await ask(desk, server, { ...publishParts(ALICE, "open"), body: pidf(ALICE, "open", tuple) });
  expect(answer.status).toBe(200);
}

test("a client of west watches: kept by the first proxy, with a leg to east", async () => {
  await west.hold("alice");
  await publish(west, "west");
  await west.release("alice");
  expect((await ask(desk, east, registerParts(desk, ALICE))).status).toBe(200);
  const answer = await ask(olga, west, subscribeParts(olga, ALICE, "olga@example.com"));
  expect(answer.status).toBe(200);
  dialog = answer.text;
  expect(field(dialog, "Contact")).toContain(FIRST);
  await publish(east, "east");
  await eventually("east's document", () => story(seen()).at(-1) === "active open by east");
});

test("the first is killed: the second takes over, and both ends learn its Contact (RFC 6665 4.1.2, 4.2.1)", async () => {
  const before = seen().at(-1)?.cseq ?? 0;
  first.child.signal("SIGKILL");
  await first.child.exited;
  await eventually("a NOTIFY of the second", () => (seen().at(-1)?.cseq ?? 0) > before, 60_000);
  const told = olga.heard.findLast((m) => m.method === "NOTIFY");
  expect(field(told?.text ?? "", "Contact")).toContain(SECOND);
  // The refresh of the leg brings the document back, which died with the first.
  await eventually("east's document again", () => story(seen()).at(-1) === "active open by east", 20_000);
}, 90_000);

test("what is published on east reaches him through it, in the same dialog", async () => {
  await publish(east, "east-later");
  await eventually(
    `the document; ${story(seen()).join(" | ")}`,
    () => story(seen()).join().includes("east-later"),
    20_000,
  );
});

test("his refresh reaches it by the route set, and he follows when she is moved", async () => {
  const parts = resubscribeParts(olga, dialog, 2, 600);
  const answer = await ask(olga, west, { ...parts, uri: parts.uri.replace(FIRST, SECOND) });
  expect(answer.status).toBe(200);
  await west.hold("alice");
  expect((await second.run("users", "move", ALICE, "west")).code).toBe(0);
  await eventually("west's document", () => story(seen()).at(-1) === "active open by west", 20_000);
  const cseqs = seen().map((each) => each.cseq);
  expect(cseqs).toEqual(cseqs.toSorted((a, b) => a - b));
  expect(story(seen()).join()).not.toContain("terminated");
});
