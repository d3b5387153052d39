import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BatchJson } from "../../src/admin/move-shapes.ts";
import { main } from "../../src/main.ts";
import { captured } from "../cli/support.ts";
import { type Child, eventually, startChild } from "../support/child.ts";
import { freePort } from "../support/ports.ts";
import { startTestServer, type TestDatabase, type TestServer } from "../support/postgres.ts";

/**
 * A batch of moves outlives the proxy that runs it: two processes on a real PostgreSQL, `kill -9` in the middle of the batch,
 * and nobody is moved twice, left behind, or reported wrongly.
 */

const USERS = 240;
const RATE = 40;
const HOSTS = ["127.0.0.45", "127.0.0.46"] as const;
const PORT = 15_280;

interface Proxy {
  readonly admin: string;
  readonly child: Child;
}

let server: TestServer;
let database: TestDatabase;
const folder = mkdtempSync(join(tmpdir(), "codomain-batches-"));
const proxies: Proxy[] = [];

async function launch(host: string): Promise<Proxy> {
  const admin = `http://${host}:${await freePort(host)}`;
  const file = join(folder, `${host}.yaml`);
  writeFileSync(
    file,
    `
domain: example.com
proxy-name: proxy-${host}
listen: ["udp://${host}:${PORT}"]
database: ${database.url}
admin: { url: "${admin}" }
logging: { level: "off" }
health: { interval: 0s }
servers:
  east: { uri: "sip:127.0.0.56:${PORT}" }
  west: { uri: "sip:127.0.0.57:${PORT}" }
models:
  - { match: "*@example.com", model: exclusive }
`,
  );
  const program = fileURLToPath(new URL("../support/lossy-proxy.ts", import.meta.url));
  const child = startChild(process.execPath, ["--import", "tsx", program, file, "0", "1"]);
  await eventually(
    `the proxy on ${host}`,
    () => {
      if (/Error/.test(child.output())) throw new Error(child.output());
      return child.output().includes("started");
    },
    60_000,
  );
  return { admin, child };
}

/** The proxy that is asked: the one that lives. */
let asked: Proxy;

async function api<T>(path: string, body?: unknown): Promise<T> {
  const response = await fetch(asked.admin + path, {
    method: body === undefined ? "GET" : "POST",
    headers: body === undefined ? {} : { "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

const batchOf = (id: string): Promise<BatchJson> => api<BatchJson>(`/api/v1/moves/${id}`);

async function users(on: string): Promise<{ aor: string; epoch: number }[]> {
  return (await api<{ users: { aor: string; epoch: number }[] }>(`/api/v1/users?server=${on}&limit=1000`)).users;
}

beforeAll(async () => {
  server = await startTestServer();
  database = await server.database();
  for (const host of HOSTS) proxies.push(await launch(host));
  const client = await database.connect();
  await client.query(
    `insert into codomain.slots (aor, server, origin, epoch, verdict)
     select 'user' || n || '@example.com', 'east', 'registered', 1, 'bound' from generate_series(1, $1) n`,
    [USERS],
  );
}, 120_000);

afterAll(async () => {
  for (const { child } of proxies) await child.stop();
  await database?.drop();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("a batch of moves", () => {
  it("goes on by itself when the proxy that runs it is killed with -9; then it is undone", async () => {
    asked = proxies[0]!;
    const { id } = await api<BatchJson>("/api/v1/moves", { from: "east", to: "west", rate: RATE });
    const running = await eventually("the batch is well begun", async () => {
      const batch = await batchOf(id);
      return batch.moved > USERS / 10 ? batch : undefined;
    });
    const holder = HOSTS.findIndex((host) => running.proxy!.startsWith(`proxy-${host}-`));
    const other = 1 - holder;
    proxies[holder]!.child.signal("SIGKILL");
    asked = proxies[other]!;
    const { io, stdout, stderr } = captured({ CODOMAIN_ADMIN: asked.admin });
    const code = await main(["migrate", "--resume", id], io);
    expect([code, stderr()]).toEqual([0, ""]);
    expect(stdout()).toMatch(new RegExp(`^${USERS} users moved to west in .*, 0 refused`));
    const batch = await batchOf(id);
    expect(batch.proxy).toMatch(new RegExp(`^proxy-${HOSTS[other]}-`));
    const moved = await users("west");
    expect(moved.map((each) => each.epoch)).toEqual(Array.from({ length: USERS }, () => 2));
    expect(await users("east")).toEqual([]);

    await api("/api/v1/users/user7@example.com/move", { server: "east" });
    await api("/api/v1/users/user7@example.com/move", { server: "west" });
    const back = captured({ CODOMAIN_ADMIN: asked.admin });
    expect(await main(["migrate", "--undo", id, "--rate", "1000/s"], back.io)).toBe(1);
    expect(back.stdout()).toMatch(new RegExp(`^${USERS - 1} users moved back in .*, 1 refused`));
    expect(back.stderr()).toBe("user7@example.com: he was moved since, and is on west again.\n");
    expect((await users("west")).map((each) => each.aor)).toEqual(["user7@example.com"]);
    expect((await batchOf(id)).undone).toBe(USERS - 1);
  }, 120_000);
});
