import type { Claim } from "../src/directory/directory.ts";
import { onOwnServer, printHeader, runtime, timed } from "./statements.ts";

// Durable test-and-sets a second through the directory, group commit included: npx tsx bench/register-sql.ts [seconds]

const SECONDS = Number(process.argv[2] ?? 5);
const USERS = 100_000;
const HOUR = 3_600_000;

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

await onOwnServer(async (directory) => {
  printHeader();
  let round = 0;
  await timed("bind a new user", { seconds: SECONDS, outstanding: 512, limit: USERS }, (n) =>
    directory.claim(claimOf(n, 0, false)),
  );
  for (const outstanding of [1, 64, 512]) {
    const base = ++round * 100;
    await timed("refresh (Call-ID, CSeq, expiry)", { seconds: SECONDS, outstanding }, (n) =>
      directory.claim(claimOf(n, base + Math.floor(n / USERS), false)),
    );
  }
  await timed("takeover by another server", { seconds: SECONDS, outstanding: 512 }, (n) =>
    directory.claim(claimOf(n, 1000 + 1 + Math.floor(n / USERS), true)),
  );
  await timed("lookup", { seconds: SECONDS, outstanding: 512 }, (n) =>
    directory.lookup(`user${(n * 7919) % USERS}@example.com`),
  );
  await timed("unbind, one by one", { seconds: SECONDS, outstanding: 64, limit: USERS }, (n) =>
    directory.unbind({ aor: `user${n % USERS}@example.com`, actor: "bench" }),
  );
});
