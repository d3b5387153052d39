import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { createDirectory } from "../src/directory/postgres/directory.ts";
import { createRealRuntime } from "../src/runtime/real.ts";
import { Telemetry } from "../src/telemetry/events.ts";

// What a lookup costs as the directory grows, and an import: npx tsx bench/directory-size.ts [users…]

const SIZES = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [10_000, 100_000, 1_000_000];
const LOOKUPS = 50_000;
const IMPORTED = 20_000;
const FILL = `
insert into codomain.slots (aor, server, origin, epoch, verdict)
select 'user' || lpad(n::text, 9, '0') || '@example.com', (array['east', 'west', 'north'])[n % 3 + 1], 'provisioned', 1, 'bound'
from generate_series($1::bigint, $2::bigint) n`;

const runtime = createRealRuntime();
const place = await mkdtemp(join(tmpdir(), "codomain-bench-"));
const directory = await createDirectory(runtime, new Telemetry(), { database: `embedded:${place}`, proxy: "bench" });
await directory.start();
const client = new pg.Client({ connectionString: directory.url });
await client.connect();

async function lookups(users: number): Promise<number> {
  const started = runtime.clock.now();
  let next = 0;
  const worker = async () => {
    while (next < LOOKUPS) {
      const n = (next++ * 7919) % users;
      const found = await directory.lookup(`user${String(n).padStart(9, "0")}@example.com`);
      if (found.state !== "bound") throw new Error(`User ${n} of ${users} is ${found.state}.`);
    }
  };
  await Promise.all(Array.from({ length: 256 }, worker));
  return (runtime.clock.now() - started) / LOOKUPS;
}

try {
  console.log("users        µs a lookup (256 at once, from the database)");
  let filled = 0;
  for (const users of SIZES) {
    for (; filled < users; filled += 100_000) await client.query(FILL, [filled, Math.min(users, filled + 100_000) - 1]);
    filled = users;
    await client.query("vacuum analyze codomain.slots");
    await lookups(users);
    console.log(`${users.toLocaleString("en").padStart(10)}   ${((await lookups(users)) * 1000).toFixed(1)}`);
  }
  const rows = Array.from({ length: IMPORTED }, (_, n) => ({
    aor: `import${n}@example.com`,
    model: null,
    server: "east",
  }));
  const started = runtime.clock.now();
  await directory.importUsers(rows, "bench");
  const seconds = (runtime.clock.now() - started) / 1000;
  console.log(
    `import: ${Math.round(IMPORTED / seconds).toLocaleString("en")} users/s, record and provisioned binding each`,
  );
} finally {
  await client.end();
  await directory.stop();
  await rm(place, { recursive: true, force: true });
}
