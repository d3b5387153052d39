import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/child.ts";
import { type Kamailio, startKamailio } from "../support/kamailio.ts";
import { answering, messageParts, refreshParts, registerParts, subscribeParts } from "../support/presence.ts";
import { type RunningProxy, startProxy } from "../support/proxy.ts";
import { ask, field, requestText, type WirePeer, wirePeer } from "../support/wire.ts";

/** What is broken on purpose: the proxy by kill -9, its Postgres, a server; garbage and floods. */
const PROXY = "127.0.0.121";

let east: Kamailio;
let west: Kamailio;
let proxy: RunningProxy;
let bob: WirePeer;
let olga: WirePeer;

beforeAll(async () => {
  const common = { proxy: `${PROXY}:5060` };
  [east, west] = await Promise.all([
    startKamailio({ ...common, host: "127.0.0.122", users: ["alice"] }),
    startKamailio({ ...common, host: "127.0.0.123", users: ["bob", "ben"] }),
  ]);
  proxy = await startProxy({
    host: PROXY,
    servers: { east: east.uri, west: west.uri },
    more: "health: { interval: 500ms, timeout: 500ms, failures: 2 }",
  });
  [bob, olga] = (await Promise.all([wirePeer("127.0.0.125"), wirePeer("127.0.0.126")])).map(answering) as [
    WirePeer,
    WirePeer,
  ];
  for (const user of ["bob", "ben"]) {
    expect((await ask(bob, west, registerParts(bob, `${user}@example.com`))).status).toBe(200);
  }
});

afterAll(async () => {
  await proxy?.stop();
  await Promise.all([east, west].map((each) => each?.stop()));
  await Promise.all([bob, olga].map((each) => each?.close()));
});

const write = (to: string) => ask(olga, proxy, messageParts(`${to}@example.com`, "olga@example.com"));

describe("kill -9 of the proxy", () => {
  let notify = "";

  test("what was learned is there again, no server is asked anew", async () => {
    expect((await write("bob")).status).toBe(200);
    const watch = await ask(olga, proxy, subscribeParts(olga, "bob@example.com", "olga@example.com"));
    expect(watch.status).toBe(200);
    notify = (await olga.next("a NOTIFY", (m) => m.method === "NOTIFY" && m.status === 0)).text;
    const asked = await east.seen("MESSAGE", "bob");
    await proxy.crashAndRestart();
    expect(await proxy.explain("MESSAGE", "bob@example.com")).toMatchObject({ kind: "relay", server: "west" });
    expect((await write("bob")).status).toBe(200);
    expect(await east.seen("MESSAGE", "bob")).toBe(asked);
  });

  test("a dialog that was there before goes on: all it needs is in its route set", async () => {
    const refreshed = await ask(olga, proxy, refreshParts(olga, notify, 2, 600));
    expect(refreshed.status).toBe(200);
    await olga.next(
      "its NOTIFY",
      (m) => m.method === "NOTIFY" && m.status === 0 && field(m.text, "Call-ID") === field(notify, "Call-ID"),
    );
  });
});

describe("Postgres stops answering", () => {
  const postmaster = (): number =>
    Number(readFileSync(`${proxy.directory}/data/data/postmaster.pid`, "latin1").split("\n")[0]);

  test("mapped users keep being routed; an unknown user's request is answered 500 with Retry-After, and all is well again by itself", async () => {
    expect((await write("bob")).status).toBe(200);
    const children = readFileSync(`/proc/${postmaster()}/task/${postmaster()}/children`, "latin1")
      .trim()
      .split(" ")
      .filter(Boolean)
      .map(Number);
    const all = [postmaster(), ...children];
    for (const pid of all) process.kill(pid, "SIGSTOP");
    try {
      expect((await write("bob")).status).toBe(200);
      const answer = await ask(olga, proxy, messageParts("stranger@example.com", "olga@example.com"), 35_000);
      expect(answer.status).toBe(500);
      expect(field(answer.text, "Retry-After")).toBeDefined();
      expect((await write("bob")).status).toBe(200);
    } finally {
      for (const pid of all) process.kill(pid, "SIGCONT");
    }
    await eventually("strangers to be asked for again", async () => (await write("stranger2")).status === 404, 30_000);
  });

  test("killed with -9: mapped users keep being routed, and it comes back by itself", async () => {
    process.kill(postmaster(), "SIGKILL");
    expect((await write("bob")).status).toBe(200);
    await eventually("Postgres and everything on it", async () => (await write("stranger3")).status === 404, 60_000);
    expect((await write("bob")).status).toBe(200);
  });
});

describe("a server that does not answer", () => {
  test("is taken out of rotation, its users get 480 with Retry-After and stay bound, and it comes back by itself", async () => {
    expect((await write("ben")).status).toBe(200);
    const stopped = [
      west.pid,
      ...readFileSync(`/proc/${west.pid}/task/${west.pid}/children`, "latin1").trim().split(" ").map(Number),
    ];
    for (const pid of stopped) process.kill(pid, "SIGSTOP");
    try {
      await eventually("it to be out of rotation", async () => {
        const { servers } = (await proxy.api("GET", "/api/v1/servers")) as {
          servers: Array<{ name: string; up: boolean }>;
        };
        return servers.some((each) => each.name === "west" && !each.up);
      });
      const started = performance.now();
      const answer = await write("ben");
      expect(answer.status).toBe(480);
      expect(field(answer.text, "Retry-After")).toBeDefined();
      expect(performance.now() - started).toBeLessThan(1_000);
    } finally {
      for (const pid of stopped) process.kill(pid, "SIGCONT");
    }
    await eventually("it to be back", async () => (await write("ben")).status === 200, 20_000);
  });
});

describe("garbage and floods", () => {
  test("garbage on every transport neither stops nor fills it", async () => {
    const garbage = [
      "",
      "\r\n\r\n",
      "\0".repeat(1000),
      "GET / HTTP/1.1\r\n\r\n",
      "INVITE sip: SIP/2.0\r\n\r\n",
      "x".repeat(60_000),
    ];
    const request = requestText(olga, messageParts("bob@example.com", "olga@example.com"));
    for (let i = 0; i < 2_000; i++) {
      const text = garbage[i % garbage.length] ?? "";
      const at = (i * 7919) % request.length;
      olga.send(
        i % 2 === 0 ? text : `${request.slice(0, at)}${String.fromCharCode(i % 256)}${request.slice(at + 1)}`,
        proxy.host,
        proxy.port,
      );
    }
    await eventually("an answer through the flood", async () => (await write("bob")).status === 200, 20_000);
  });

  test("half-open TCP connections do not keep others out", async () => {
    const { connect } = await import("node:net");
    const sockets = Array.from({ length: 200 }, () =>
      connect({ host: proxy.host, port: 5060, localAddress: "127.0.0.127" }),
    );
    for (const socket of sockets) {
      socket.on("error", () => {});
      socket.on("connect", () => socket.write("MESSAGE sip:bob@example.com SIP/2.0\r\nVia: "));
    }
    expect((await write("bob")).status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });
});

test("SIGTERM: it drains and ends with 0", async () => {
  expect(await proxy.stop()).toBe(0);
});
