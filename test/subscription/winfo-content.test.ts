import { describe, expect, it } from "vitest";
import { applyWinfo, NO_WATCHERS, parseWinfo, type WatcherTable } from "../../src/presence/winfo.ts";
import { MOST_IN_DOCUMENT, type WatcherRow, WinfoContent } from "../../src/subscription/winfo-content.ts";
import { fc } from "../support/fast-check.ts";

/** Documents of one subscription to presence.winfo, as its subscriber puts them together (RFC 3858 4). */

const RESOURCE = "sip:alice@example.com";
const STATUSES = ["pending", "active", "waiting"] as const;

function row(n: number, status: WatcherRow["status"]): WatcherRow {
  return { id: `w${n}`, watcher: `w${n}@example.com`, trusted: true, secretive: false, status, until: null };
}

/** The subscriber at the other end, and the way to him. */
class Reader {
  table: WatcherTable = NO_WATCHERS;
  gaps = 0;
  #cseq = 1;
  readonly content = new WinfoContent(
    { resource: RESOURCE, uriOf: (watcher) => `sip:${watcher}`, now: () => 0 },
    () => undefined,
  );

  /** One NOTIFY; what does not arrive is answered with nothing. */
  notify(arrives: boolean): void {
    const body = this.content.body(++this.#cseq);
    if (arrives) {
      const applied = applyWinfo(this.table, parseWinfo(body));
      if (applied.outcome === "applied") {
        this.table = applied.table;
        if (applied.gap) this.gaps++;
      }
    }
    this.content.answered(arrives);
  }

  get rows(): string[] {
    return [...(this.table.lists.get(RESOURCE)?.values() ?? [])].map(({ id, status }) => `${id} ${status}`).sort();
  }
}

const state = fc.dictionary(fc.integer({ min: 0, max: 9 }).map(String), fc.constantFrom(...STATUSES), { maxKeys: 8 });
const step = fc.record({ rows: state, arrives: fc.boolean(), refreshes: fc.boolean() });

describe("watchers as they are told", () => {
  it("whatever changes, is lost and is refreshed: once all has arrived the reader knows what is", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const reader = new Reader();
        for (const { rows, arrives, refreshes } of steps) {
          if (refreshes) reader.content.wholeNext();
          const isOwed = reader.content.update(
            Object.entries(rows).map(([n, status]) => row(Number(n), status)),
            () => "timeout",
          );
          if (isOwed) reader.notify(arrives);
        }
        for (let i = 0; i < 3 && reader.content.owed; i++) reader.notify(true);
        const last = Object.entries(steps.at(-1)!.rows).map(([n, status]) => `w${n} ${status}`);
        expect(reader.rows).toEqual(last.sort());
        expect(reader.content.owed).toBe(false);
      }),
    );
  });

  it("what has not changed is not told again", () => {
    const reader = new Reader();
    reader.content.update([row(1, "active")], () => "timeout");
    reader.notify(true);
    expect(reader.content.update([{ ...row(1, "active"), until: 5_000 }], () => "timeout")).toBe(false);
  });

  it.each([
    [undefined, "pending", "subscribe"],
    [undefined, "active", "subscribe"],
    [undefined, "waiting", "timeout"],
    ["pending", "active", "approved"],
    ["pending", "waiting", "timeout"],
    ["waiting", "pending", "subscribe"],
    ["waiting", "active", "approved"],
    ["active", "pending", "subscribe"],
  ] as const)("from %s to %s: event %s (RFC 3857 4.7.1)", (before, now, event) => {
    const reader = new Reader();
    if (before !== undefined) {
      reader.content.update([row(1, before)], () => "timeout");
      reader.notify(true);
    }
    reader.content.update([row(1, now)], () => "timeout");
    const [watcher] = parseWinfo(reader.content.body(9)).lists[0]!.watchers;
    expect([watcher!.status, watcher!.event]).toEqual([now, event]);
  });

  it("who has gone is terminated, by what ended him; in a full document he is not", () => {
    const reader = new Reader();
    reader.content.update([row(1, "active"), row(2, "pending")], () => "timeout");
    reader.notify(true);
    reader.content.update([row(2, "pending")], ({ id }) => (id === "w1" ? "rejected" : "timeout"));
    const [gone, ...others] = parseWinfo(reader.content.body(9)).lists[0]!.watchers;
    expect([gone!.id, gone!.status, gone!.event, others]).toEqual(["w1", "terminated", "rejected", []]);
    reader.content.answered(false);
    reader.content.wholeNext();
    expect(parseWinfo(reader.content.body(10)).lists[0]!.watchers.map(({ id }) => id)).toEqual(["w2"]);
  });

  it("what is more than a document holds comes in the next", () => {
    const reader = new Reader();
    const rows = Array.from({ length: MOST_IN_DOCUMENT + 50 }, (_, n) => row(n, "pending"));
    reader.content.update(rows, () => "timeout");
    reader.notify(true);
    expect([reader.rows.length, reader.content.owed]).toEqual([MOST_IN_DOCUMENT, true]);
    reader.notify(true);
    expect([reader.rows.length, reader.content.owed, reader.gaps]).toEqual([rows.length, false, 0]);
  });
});
