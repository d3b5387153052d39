import { describe, expect, it } from "vitest";
import { CompletedIndex } from "../../../src/sip/transaction/completed-index.ts";
import { CompletedStore } from "../../../src/sip/transaction/completed-store.ts";
import { fc } from "../../support/fast-check.ts";

const MIB = 1024 * 1024;

function setup(maxBytes = 8 * MIB) {
  const store = new CompletedStore({ maxBytes, lifetimeMs: 32_000, seed: 7 });
  const add = (key: string, response: string, now: number) => store.add(key, store.hash(key), response, now);
  const find = (key: string, now: number) => store.find(key, store.hash(key), now);
  return { store, add, find };
}

describe("the store of completed transactions", () => {
  it("gives back the response byte for byte, all 256 of them", () => {
    const { add, find } = setup();
    const bytes = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i)).join("");
    add("key", bytes, 0);
    expect(find("key", 1)).toBe(bytes);
  });

  it("never takes another key for this one, not even with the same hash", () => {
    const { store } = setup();
    store.add("one", 42, "answer to one", 0);
    store.add("two", 42, "answer to two", 0);
    expect(store.find("one", 42, 1)).toBe("answer to one");
    expect(store.find("two", 42, 1)).toBe("answer to two");
    expect(store.find("six", 42, 1)).toBeUndefined();
    expect(store.find("onetwo", 42, 1)).toBeUndefined();
  });

  it("answers until Timer J would fire and not longer", () => {
    const { add, find } = setup();
    add("key", "answer", 100.5);
    expect(find("key", 32_100)).toBe("answer");
    expect(find("key", 32_102)).toBeUndefined();
  });

  it("forgets in the order of coming, at most as many as told, and says whether more wait", () => {
    const { store, add } = setup();
    for (let i = 0; i < 10; i++) add(`key ${i}`, "answer", i);
    expect(store.expire(32_005, 3)).toBe(true);
    expect(store.count).toBe(7);
    expect(store.expire(32_005, 100)).toBe(false);
    expect(store.count).toBe(4);
  });

  it("holds nothing when all has expired", () => {
    const { store, add } = setup();
    for (let i = 0; i < 10_000; i++) add(`key ${i}`, "x".repeat(400), 0);
    expect(store.bytes).toBeGreaterThan(4 * MIB);
    expect(store.expire(40_000, 1e9)).toBe(false);
    expect(store.count).toBe(0);
    expect(store.bytes).toBe(0);
  });

  it("lets the oldest give way at its bound, and counts them", () => {
    const { store, add, find } = setup(3 * MIB);
    for (let i = 0; i < 20_000; i++) add(`key ${i}`, "x".repeat(400), 0);
    expect(store.bytes).toBeLessThan(4 * MIB);
    expect(store.dropped).toBe(20_000 - store.count);
    expect(find("key 19999", 1)).toBe("x".repeat(400));
    expect(find("key 0", 1)).toBeUndefined();
  });

  it("does not keep what is larger than a chunk, and says so", () => {
    const { store, add, find } = setup();
    add("key", "x".repeat(MIB), 0);
    expect(find("key", 1)).toBeUndefined();
    expect(store.dropped).toBe(1);
  });

  it("turns the ring over and over with the same chunks", () => {
    const { store, add, find } = setup(4 * MIB);
    let now = 0;
    for (let i = 0; i < 60_000; i++) {
      add(`key ${i}`, `answer ${i} ${"x".repeat(300)}`, now);
      now += 10;
    }
    expect(store.dropped).toBe(0);
    expect(store.count).toBeLessThan(3300);
    expect(find("key 59999", now)).toMatch(/^answer 59999 /);
    expect(find(`key ${59_999 - 3190}`, now)).toBeDefined();
    expect(find(`key ${59_999 - 3210}`, now)).toBeUndefined();
  });

  it("behaves as a map of expiring entries, whatever comes", () => {
    const step = fc.record({
      act: fc.constantFrom("add", "find", "wait", "expire"),
      key: fc.nat(30),
      size: fc.nat(60_000),
      ms: fc.nat(8000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { store, add, find } = setup(64 * MIB);
        const model = new Map<string, { response: string; until: number }>();
        let now = 0;
        let n = 0;
        for (const { act, key: id, size, ms } of steps) {
          const key = `branch${id}`;
          const entry = model.get(key);
          const live = entry !== undefined && entry.until > now;
          if (act === "add" && !live) {
            const response = `${n++} ${"r".repeat(size)}`;
            add(key, response, now);
            model.set(key, { response, until: now + 32_000 });
          } else if (act === "find") {
            expect(find(key, now)).toBe(live ? entry.response : undefined);
          } else if (act === "wait") {
            now += ms;
          } else if (act === "expire") {
            store.expire(now, 5);
          }
        }
        store.expire(now + 32_001, 1e9);
        expect(store.bytes).toBe(0);
      }),
      { numRuns: 150 },
    );
  });
});

describe("the index of the store", () => {
  it("finds what is in it and nothing else, through growing and shrinking", () => {
    const index = new CompletedIndex();
    const references = Array.from({ length: 40_000 }, (_, i) => i + 1);
    const hash = (reference: number) => Math.imul(reference, 0x9e3779b1) >>> 0;
    for (const reference of references) expect(index.insert(hash(reference), reference)).toBe(true);
    const grown = index.bytes;
    for (const reference of references) {
      expect(index.find(hash(reference), (each) => each === reference)).toBe(reference);
      if (reference % 40 !== 0) index.remove(hash(reference), reference);
    }
    expect(index.bytes).toBeLessThan(grown / 4);
    for (const reference of references) {
      expect(index.find(hash(reference), (each) => each === reference)).toBe(reference % 40 === 0 ? reference : 0);
      index.remove(hash(reference), reference);
    }
    expect(index.bytes).toBe(0);
  });

  it("keeps runs of colliding hashes whole when one in the middle goes", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { minLength: 1, maxLength: 25 }), fc.nat(), (homes, seed) => {
        const index = new CompletedIndex();
        homes.forEach((home, i) => {
          index.insert(home + 60, i + 1);
        });
        const gone = seed % homes.length;
        index.remove(homes[gone]! + 60, gone + 1);
        homes.forEach((home, i) => {
          expect(index.find(home + 60, (each) => each === i + 1)).toBe(i === gone ? 0 : i + 1);
        });
      }),
    );
  });

  it("gives a flood of equal hashes up after a bounded number of probes", () => {
    const index = new CompletedIndex();
    const placed = Array.from({ length: 500 }, (_, i) => index.insert(5, i + 1)).filter(Boolean).length;
    expect(placed).toBeLessThan(200);
    let asked = 0;
    index.find(5, () => {
      asked++;
      return false;
    });
    expect(asked).toBeLessThan(200);
  });
});
