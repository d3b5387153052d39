import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isMap, isScalar, isSeq, parseDocument } from "yaml";
import { printPath } from "../../src/config/faults.ts";
import { loadConfig } from "../../src/config/load.ts";

const EXAMPLE = readFileSync(new URL("../../codomain.example.yaml", import.meta.url), "utf8");

type Path = (string | number)[];

/** Paths of all values that hold no others. */
function leaves(node: unknown, path: Path = []): Path[] {
  if (isMap(node)) return node.items.flatMap((pair) => leaves(pair.value, [...path, String(pair.key)]));
  if (isSeq(node)) return node.items.flatMap((item, i) => leaves(item, [...path, i]));
  return isScalar(node) ? [path] : [];
}

function faultPaths(text: string): readonly string[] {
  const loaded = loadConfig(text, { env: {} });
  return loaded.config === undefined ? loaded.faults.map((each) => each.path) : [];
}

const LEAVES = leaves(parseDocument(EXAMPLE).contents).map((path) => [printPath(path), path] as const);

describe("whatever is written", () => {
  it.each(LEAVES)("%s refuses a value of another kind, at its own place", (name, path) => {
    const document = parseDocument(EXAMPLE);
    document.setIn(path, { wrong: 1 });
    expect(faultPaths(document.toString()).filter((each) => each.startsWith(name))).not.toEqual([]);
  });

  it.each(LEAVES)("%s says where an unset variable of the environment is wanted", (name, path) => {
    const document = parseDocument(EXAMPLE);
    document.setIn(path, `$${"{UNSET}"}`);
    expect(faultPaths(document.toString())).toContain(name);
  });

  it("the outcome is a configuration or faults with a place, a sentence and a remedy, never an exception", () => {
    const edit = fc.record({
      at: fc.nat(EXAMPLE.length),
      drop: fc.nat(12),
      put: fc.oneof(
        fc.string({ maxLength: 6 }),
        fc.constantFrom(
          "{",
          "}",
          "[",
          "]",
          ": ",
          "\n",
          "\n  ",
          "- ",
          "&a ",
          "*a",
          "!!map ",
          "<<: ",
          `$${"{X}"}`,
          "__proto__:",
          "|",
          "?",
          "%",
          "---\n",
        ),
      ),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let text = EXAMPLE;
        for (const { at, drop, put } of edits) text = text.slice(0, at) + put + text.slice(at + drop);
        const loaded = loadConfig(text, { env: { X: "y" } });
        const told = loaded.config === undefined ? loaded.faults : loaded.warnings;
        if (loaded.config === undefined) expect(told.some((each) => each.severity === "error")).toBe(true);
        for (const each of told) {
          expect(each.line).toBeGreaterThan(0);
          expect(each.column).toBeGreaterThan(0);
          expect(each.message).not.toBe("");
          expect(each.fix).not.toBe("");
        }
      }),
      { numRuns: 400, seed: 7 },
    );
  });
});
