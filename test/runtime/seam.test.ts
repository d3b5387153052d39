import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";

/** Each is one file that must not stand outside src/runtime. */
const AMBIENT = [
  "export const a = Date.now();",
  "export const a = Date\n  .now();",
  "export const a = Date?.now();",
  'export const a = Date["now"]();',
  "export const a = (now = Date.now) => now();",
  "const { now } = Date;\nexport const a = now();",
  "export const a = new Date();",
  "export const a = new Date;",
  "export const a = Date();",
  "export const a = Math.random();",
  "const { random } = Math;\nexport const a = random();",
  "export const a = performance.now();",
  "export const a = process.hrtime();",
  "export const a = process.hrtime.bigint();",
  "const { hrtime } = process;\nexport const a = hrtime();",
  'import { hrtime } from "node:process";\nexport const a = hrtime();',
  "export const a = process.uptime();",
  'import { performance as p } from "node:perf_hooks";\nexport const a = p.now();',
  "setTimeout(() => {}, 1);",
  "setInterval(() => {}, 1);",
  "setImmediate(() => {});",
  "export const a = setTimeout;",
  "globalThis.setTimeout(() => {}, 1);",
  'globalThis["setTimeout"](() => {}, 1);',
  "global.setTimeout(() => {}, 1);",
  "export const a = AbortSignal.timeout(1);",
  'import { setTimeout as later } from "node:timers";\nlater(() => {}, 1);',
  'import { setTimeout as sleep } from "node:timers/promises";\nawait sleep(1);',
  'import { createSocket } from "node:dgram";\ncreateSocket("udp4");',
  'import { connect } from "node:net";\nconnect(1);',
  'import { connect } from "net";\nconnect(1);',
  'import type { Socket } from "node:net";\nexport type A = Socket;',
  'export * from "node:net";',
  'export const a = await import("node:net");',
  'import { connect } from "node:tls";\nconnect(1);',
  'import { lookup } from "node:dns/promises";\nexport const a = lookup;',
  'import { WebSocket } from "ws";\nexport const a = WebSocket;',
  'import { randomBytes } from "node:crypto";\nexport const a = randomBytes(4);',
  "export const a = crypto.randomUUID();",
];

/** What only looks like it. */
const ALLOWED = [
  "export const a = new Date(5).toISOString();",
  'export const a = Date.parse("2026-01-01T00:00:00Z");',
  "export const a = (value: unknown) => value instanceof Date;",
  "export const a = Math.max(1, 2);",
  'export const a = process.env["HOME"];',
  'import { createHash } from "node:crypto";\nexport const a = createHash("sha256");',
];

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Below a folder named src, as a checkout may be. */
const checkout = join(mkdtempSync(join(tmpdir(), "seam-")), "src", "codomain");
/** Files with an error of the seam's rules. */
const refused = new Set<string>();

beforeAll(async () => {
  for (const file of ["biome.json", "tools/biome"]) cpSync(join(ROOT, file), join(checkout, file), { recursive: true });
  const plant = (folder: string, texts: readonly string[], name: string) => {
    mkdirSync(join(checkout, folder), { recursive: true });
    texts.forEach((text, index) => {
      writeFileSync(join(checkout, folder, `${name}-${index}.ts`), `${text}\n`);
    });
  };
  plant("src/proxy", AMBIENT, "ambient");
  plant("src/proxy", ALLOWED, "allowed");
  plant("src/runtime", AMBIENT, "ambient");
  plant("test", AMBIENT, "ambient");
  for (const { category, path } of await lint()) {
    if (/^plugin|noRestricted/.test(category)) refused.add(path);
  }
});

afterAll(() => rmSync(join(checkout, "../.."), { recursive: true }));

async function lint(): Promise<{ category: string; path: string }[]> {
  const biome = join(ROOT, "node_modules/@biomejs/biome/bin/biome");
  const args = [biome, "lint", "--reporter=json", "--max-diagnostics=none", "src", "test"];
  const output = await new Promise<string>((resolve) => {
    const options = { cwd: checkout, maxBuffer: 64 << 20 };
    // It exits 1 where it finds something, which is what we are after.
    execFile(process.execPath, args, options, (_error, stdout) => resolve(stdout));
  });
  const report = JSON.parse(output) as { diagnostics: { category: string; location: { path: string } }[] };
  return report.diagnostics.map(({ category, location }) => ({ category, path: location.path }));
}

test.each(AMBIENT.map((text, index) => [text, index] as const))("refused in src/proxy: %s", (_text, index) => {
  expect(refused).toContain(`src/proxy/ambient-${index}.ts`);
});

test.each(ALLOWED.map((text, index) => [text, index] as const))("allowed in src/proxy: %s", (_text, index) => {
  expect(refused).not.toContain(`src/proxy/allowed-${index}.ts`);
});

test("all of it is allowed in src/runtime and in tests", () => {
  expect([...refused].filter((path) => !path.startsWith("src/proxy/"))).toEqual([]);
});
