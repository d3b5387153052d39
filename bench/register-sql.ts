import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Claim } from "../src/directory/directory.ts";
import { createDirectory } from "../src/directory/postgres/directory.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";

// Durable test-and-sets a second through the directory, group commit included: npx tsx bench/register-sql.ts [seconds]

const SECONDS = Number(process.argv[2] ?? 5);
const USERS = 100_000;
const HOUR = 3_600_000;

const runtime = createRealRuntime();
const directory = await mkdtemp(join(tmpdir(), "codomain-bench-"));
const created = await createDirectory(runtime, new Telemetry(), { database: `embedded:${directory}`, proxy: "bench" });
await created.start();

const server = (n: number) => ["east", "west", "north"][n % 3] as string;

function claimOf(n: number, round: number, moving: boolean): Claim {
  const user = n % USERS;
  const expiresAt = runtime.clock.wall() + HOUR;
  const order = { callId: `${user}-a84b4c76e66710@pc33.example.com`, cseq: round + 1, expiresAt };
  return {
    aor: `user${user}@example.com`,
    server: server(user + (moving ? round : 0)),
    origin: "registered",
    expiresAt,
    conflict: "takeover",
    equalRank: true,
    actor: "bench",
    order,
  };
}

async function run(
  name: string,
  outstanding: number,
  next: (i: number) => Promise<unknown>,
  limit: number,
): Promise<void> {
  const started = runtime.clock.now();
  const until = started + SECONDS * 1000;
  const took: number[] = [];
  let sent = 0;
  const worker = async () => {
    while (sent < limit && runtime.clock.now() < until) {
      const before = runtime.clock.now();
      await next(sent++);
      took.push(runtime.clock.now() - before);
    }
  };
  await Promise.all(Array.from({ length: outstanding }, worker));
  const seconds = (runtime.clock.now() - started) / 1000;
  took.sort((a, b) => a - b);
  const at = (share: number) => (took[Math.floor((took.length - 1) * share)] ?? 0).toFixed(2);
  const rate = Math.round(took.length / seconds).toLocaleString("en");
  console.log(
    `${name.padEnd(34)} ${String(outstanding).padStart(5)} ${rate.padStart(10)} ${at(0.5).padStart(9)} ${at(0.99).padStart(9)}`,
  );
}

console.log("what                               at once   per s     p50 ms    p99 ms");
try {
  let round = 0;
  await run("bind a new user", 512, (n) => created.claim(claimOf(n, 0, false)), USERS);
  for (const outstanding of [1, 64, 512]) {
    const base = ++round * 100;
    await run(
      "refresh (Call-ID, CSeq, expiry)",
      outstanding,
      (n) => created.claim(claimOf(n, base + Math.floor(n / USERS), false)),
      Infinity,
    );
  }
  await run(
    "takeover by another server",
    512,
    (n) => created.claim(claimOf(n, 1000 + 1 + Math.floor(n / USERS), true)),
    Infinity,
  );
  await run("lookup", 512, (n) => created.lookup(`user${(n * 7919) % USERS}@example.com`), Infinity);
  await run(
    "unbind, one by one",
    64,
    (n) => created.unbind({ aor: `user${n % USERS}@example.com`, actor: "bench" }),
    USERS,
  );
} finally {
  await created.stop();
  await rm(directory, { recursive: true, force: true });
}
