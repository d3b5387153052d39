import { createDirectoryCache } from "../src/directory/cache.ts";
import type { Directory, Lookup } from "../src/directory/directory.ts";
import { createRealRuntime } from "../src/runtime/real.ts";

// Memory of a cached user: node --expose-gc --import tsx bench/cache-memory.ts [users]

const USERS = Number(process.argv[2] ?? 1_000_000);
const runtime = createRealRuntime();
const gc = (globalThis as { gc?: () => void }).gc;
if (gc === undefined) throw new Error("Run it with node --expose-gc.");

const name = (i: number) => `user${String(i).padStart(8, "0")}@example.com`;
const expiresAt = runtime.clock.wall() + 86_400_000;
const answers: Pick<Directory, "lookup" | "onChange"> = {
  lookup: (aor) => {
    const server = ["east", "west", "north"][aor.length % 3] as string;
    const found: Lookup = {
      state: "bound",
      epoch: 1,
      user: null,
      binding: { aor, server, origin: "learned", epoch: 1, expiresAt },
    };
    return Promise.resolve(found);
  },
  onChange: () => () => undefined,
};

gc();
const before = process.memoryUsage();
const cache = createDirectoryCache(answers as Directory, runtime, { entries: USERS });
for (let i = 0; i < USERS; i++) await cache.lookup(name(i));
gc();
const after = process.memoryUsage();
const used = after.heapUsed - before.heapUsed + (after.arrayBuffers - before.arrayBuffers);

const started = runtime.clock.now();
let hits = 0;
for (let i = 0; i < 1_000_000; i++) if (cache.peek(name((i * 7919) % USERS)) !== undefined) hits++;
const each = ((runtime.clock.now() - started) * 1000) / 1_000_000;
console.log(
  `${cache.size.toLocaleString("en")} users cached, ${(used / USERS).toFixed(0)} bytes each; peek ${each.toFixed(2)} µs, ${hits} hits`,
);
