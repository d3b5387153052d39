import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SRC = resolve(dirname(fileURLToPath(import.meta.url)), "../src");

/** Top to bottom. Folders on one line share a floor and may not import each other. */
const FLOORS: readonly (readonly string[])[] = [
  ["main.ts"],
  ["cli"],
  ["demo"],
  ["server.ts"],
  ["services.ts"],
  ["admin"],
  ["config"],
  ["proxy", "subscription", "messaging", "moving", "provisioning", "gateway"],
  ["federation"],
  ["policy", "xcap"],
  ["presence"],
  ["directory"],
  ["sip/dialog"],
  ["sip/transaction"],
  ["sip/transport"],
  ["sip/message"],
  ["telemetry"],
  ["runtime"],
  ["base"],
];

const CONFIG_READERS = ["main.ts", "cli", "demo", "server.ts", "config"];

function room(file: string): string {
  const parts = file.split("/");
  if (parts[0] === "sip") return `sip/${parts[1]}`;
  return parts[0]!;
}

function floorOf(name: string): number {
  return FLOORS.findIndex((floor) => floor.includes(name));
}

function imports(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) found.push(match[1]!);
  return found;
}

/** What is wrong with `file` (relative to src) importing these; empty if nothing is. */
function violations(file: string, text: string): string[] {
  const from = room(file);
  const wrong: string[] = [];
  if (floorOf(from) < 0) wrong.push(`${file}: '${from}' is on no floor of this house`);
  for (const specifier of imports(text)) {
    const target = relative(SRC, resolve(SRC, dirname(file), specifier));
    const to = room(target);
    if (to === from || floorOf(from) < 0) continue;
    if (floorOf(to) <= floorOf(from)) wrong.push(`${file} imports ${target}: arrows go downward`);
    if (to === "config" && !CONFIG_READERS.includes(from))
      wrong.push(`${file} imports ${target}: only the top reads config`);
    if (from === "admin" && to.startsWith("sip/"))
      wrong.push(`${file} imports ${target}: admin talks to ports, never to sip`);
  }
  return wrong;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));

describe("the house", () => {
  it("has arrows that go downward only", () => {
    expect(files.length).toBeGreaterThan(20);
    const wrong = files.flatMap((file) => violations(file, readFileSync(join(SRC, file), "utf8")));
    expect(wrong).toEqual([]);
  });

  it("has no circle among the files of one folder", () => {
    const edges = new Map<string, string[]>();
    for (const file of files) {
      const text = readFileSync(join(SRC, file), "utf8").replaceAll(/^\s*(?:import|export) type .*$/gm, "");
      edges.set(
        file,
        imports(text).map((specifier) => relative(SRC, resolve(SRC, dirname(file), specifier))),
      );
    }
    const circles: string[] = [];
    const done = new Set<string>();
    const walk = (file: string, path: string[]): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (done.has(file) || path.includes(file)) return;
      for (const next of edges.get(file) ?? []) walk(next, [...path, file]);
      done.add(file);
    };
    for (const file of files) walk(file, []);
    expect(circles).toEqual([]);
  });

  it("refuses an upward arrow when one is planted", () => {
    expect(violations("base/planted.ts", 'import { x } from "../proxy/pipeline.ts";')).toHaveLength(1);
    expect(violations("proxy/planted.ts", 'import { x } from "../config/config.ts";')).toHaveLength(2);
    expect(violations("admin/planted.ts", 'import { x } from "../sip/message/message.ts";')).toHaveLength(1);
    expect(violations("proxy/planted.ts", 'import { x } from "../subscription/hold.ts";')).toHaveLength(1);
  });
});
