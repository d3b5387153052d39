import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { answering, messageParts, registerParts, subscribeParts } from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { ask, field, type WirePeer, wirePeer } from "../support/wire.ts";

/** A third server without a user check says 2xx for whoever is asked for; it must never become anybody's home. */
const PROXY = "127.0.0.81";

let east: Kamailio;
let lobby: Kamailio;
let proxy: RunningProxy;
let olga: WirePeer;

beforeAll(async () => {
  const common = { proxy: `${PROXY}:5060` };
  [east, lobby] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.82", users: ["alice"] }),
    startKamailio({ ...common, host: "127.0.0.84", unknown: "accept" }),
  ]);
  proxy = await startProxy({ host: PROXY, servers: { lobby: lobby.uri, east: east.uri } });
  olga = answering(await wirePeer("127.0.0.85"));
});

afterAll(async () => {
  await proxy?.stop();
  await Promise.all([east, lobby].map((each) => each?.stop()));
  await olga?.close();
});

interface Marks {
  readonly name: string;
  readonly proofRemoved: readonly string[];
}

test("its marks are checked at start with a user who cannot exist, and taken away", async () => {
  const marks = await eventually("the checks", async () => {
    const { servers } = (await proxy.api("GET", "/api/v1/servers")) as { servers: Marks[] };
    const checked = servers.every((each) => each.proofRemoved.length > 0 || each.name !== "lobby");
    return checked && new Map(servers.map((each) => [each.name, each.proofRemoved]));
  });
  expect(marks.get("lobby")).toContain("SUBSCRIBE");
  expect(marks.get("east")).toEqual([]);
});

test("a user of east is found on east, though the other says yes to everyone", async () => {
  const answer = await ask(olga, proxy, subscribeParts(olga, "alice@example.com", "olga@example.com"));
  expect(answer.status).toBe(200);
  const notify = await olga.next("a NOTIFY", (m) => m.method === "NOTIFY" && m.status === 0);
  expect(field(notify.text, "Contact")).toContain(east.host);
  await eventually("the lesson", async () => (await proxy.explain("SUBSCRIBE", "alice@example.com")).server === "east");
  expect(await lobby.seen("SUBSCRIBE", "alice")).toBe(0);
});

test("a user of nobody gets its yes, again and again, and it is never learned", async () => {
  for (const watcher of ["olga", "otto", "oskar"]) {
    const answer = await ask(olga, proxy, subscribeParts(olga, "nobody@example.com", `${watcher}@example.com`));
    expect(answer.status).toBe(200);
    expect((await proxy.explain("SUBSCRIBE", "nobody@example.com")).kind).toBe("fork");
  }
  expect(await lobby.seen("SUBSCRIBE", "nobody")).toBe(3);
  expect(await east.seen("SUBSCRIBE", "nobody")).toBe(3);
});

test("nor by a MESSAGE it says 202 to", async () => {
  expect((await ask(olga, proxy, messageParts("nobody@example.com", "olga@example.com"))).status).toBe(202);
  expect((await proxy.explain("MESSAGE", "nobody@example.com")).kind).toBe("fork");
});

test("a phone registered on it is reached all the same", async () => {
  expect((await ask(olga, lobby, registerParts(olga, "lena@example.com"))).status).toBe(200);
  expect((await ask(olga, proxy, messageParts("lena@example.com", "olga@example.com"))).status).toBe(200);
});
