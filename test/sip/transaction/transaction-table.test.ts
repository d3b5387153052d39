import { describe, expect, it } from "vitest";
import { TransactionTable } from "../../../src/sip/transaction/transaction-table.ts";
import { fc } from "../../support/fast-check.ts";

/** Few buckets are hit, so that chains are long. */
const poor = (key: string): number => key.length % 3;

describe("the table of live transactions", () => {
  it("behaves as a Map, whatever the order of additions and deletions", () => {
    const step = fc.record({ remove: fc.boolean(), key: fc.integer({ min: 0, max: 40 }).map((n) => "k".repeat(n)) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new TransactionTable<number>(poor);
        const map = new Map<string, number>();
        for (const [i, { remove, key }] of steps.entries()) {
          if (remove) expect(table.delete(key)).toBe(map.delete(key));
          else {
            table.set(key, i);
            map.set(key, i);
          }
          expect(table.size).toBe(map.size);
          expect(table.get(key)).toBe(map.get(key));
          expect(table.has(key)).toBe(map.has(key));
        }
        expect(table.values().sort((a, b) => a - b)).toEqual([...map.values()].sort((a, b) => a - b));
      }),
    );
  });

  it("grows past its first size, and finds everything again", () => {
    const table = new TransactionTable<number>((key) => Number(key) * 7919);
    for (let i = 0; i < 5_000; i++) table.set(String(i), i);
    for (let i = 0; i < 5_000; i += 2) table.delete(String(i));
    for (let i = 5_000; i < 9_000; i++) table.set(String(i), i);
    expect(table.size).toBe(6_500);
    for (let i = 1; i < 5_000; i += 2) expect(table.get(String(i))).toBe(i);
    for (let i = 5_000; i < 9_000; i++) expect(table.get(String(i))).toBe(i);
    table.clear();
    expect([table.size, table.get("1")]).toEqual([0, undefined]);
    table.set("1", 1);
    expect(table.get("1")).toBe(1);
  });
});
