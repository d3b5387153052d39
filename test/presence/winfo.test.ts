import { describe, expect, it } from "vitest";
import {
  applyWinfo,
  NO_WATCHERS,
  parseWinfo,
  printWinfo,
  WATCHER_EVENTS,
  WATCHER_STATUSES,
  type WatcherState,
  type WatcherTable,
  type Winfo,
} from "../../src/presence/winfo.ts";
import { MalformedDocument } from "../../src/presence/xml.ts";
import { fc } from "../support/fast-check.ts";

// RFC 3858: watcher information documents.

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const token = fc.stringMatching(/^[a-z0-9.~-]{1,12}$/);
const seconds = fc.option(fc.nat(4_000_000));
const watcher = fc.record({
  id: token,
  uri: token.map((name) => `sip:${name}@example.com`),
  status: fc.constantFrom(...WATCHER_STATUSES),
  event: fc.constantFrom(...WATCHER_EVENTS),
  displayName: fc.option(text),
  expiration: seconds,
  durationSubscribed: seconds,
});
const list = fc.record({
  resource: token.map((name) => `sip:${name}@example.com`),
  package: fc.constantFrom("presence", "dialog"),
  watchers: fc.uniqueArray(watcher, { maxLength: 6, selector: (each) => each.id }),
});
const document = fc.record({
  version: fc.nat(0x7fff_ffff),
  state: fc.constantFrom("full", "partial"),
  lists: fc.array(list, { maxLength: 3 }),
});

describe("documents (RFC 3858 3)", () => {
  it("what was printed is read as it was, whatever it says", () => {
    fc.assert(
      fc.property(document, (given) => {
        expect(parseWinfo(printWinfo(given))).toEqual(given);
      }),
    );
  });

  it("the example of section 5 is read", () => {
    const read = parseWinfo(`<?xml version="1.0"?>
<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full">
  <watcher-list resource="sip:professor@example.net" package="presence">
    <watcher status="active" id="8ajksjda7s" duration-subscribed="509" event="approved" >sip:userA@example.net</watcher>
    <watcher status="pending" id="hh8juja87s997-ass7" display-name="Mr. Subscriber"
             event="subscribe">sip:userB@example.org</watcher>
  </watcher-list>
</watcherinfo>`);
    expect(read.lists[0]!.watchers).toEqual([
      {
        id: "8ajksjda7s",
        uri: "sip:userA@example.net",
        status: "active",
        event: "approved",
        displayName: null,
        expiration: null,
        durationSubscribed: 509,
      },
      {
        id: "hh8juja87s997-ass7",
        uri: "sip:userB@example.org",
        status: "pending",
        event: "subscribe",
        displayName: "Mr. Subscriber",
        expiration: null,
        durationSubscribed: null,
      },
    ]);
  });

  it("elements or attributes from unknown namespaces MUST be ignored", () => {
    const read = parseWinfo(
      `<w:watcherinfo xmlns:w="urn:ietf:params:xml:ns:watcherinfo" xmlns:x="urn:x" version="3" state="partial" x:version="9">` +
        `<x:more/><w:watcher-list resource="sip:a@b.c" package="presence"><x:watcher id="1"/>` +
        `<w:watcher id="1" status="waiting" event="timeout" x:event="y">sip:d@e.f</w:watcher></w:watcher-list></w:watcherinfo>`,
    );
    expect([read.version, read.lists[0]!.watchers.map(({ id, status }) => `${id} ${status}`)]).toEqual([
      3,
      ["1 waiting"],
    ]);
  });

  it.each([
    ["no version", `state="full"`],
    ["a version of more than 32 bits", `state="full" version="4294967296"`],
    ["no state", `version="0"`],
    ["another state", `version="0" state="half"`],
  ])("%s: it is none (both MUST be present)", (_, attributes) => {
    expect(() => parseWinfo(`<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" ${attributes}/>`)).toThrow(
      MalformedDocument,
    );
  });
});

describe("a table of watchers (RFC 3858 4)", () => {
  const applied = (table: WatcherTable, given: Winfo): WatcherTable => {
    const result = applyWinfo(table, given);
    return result.outcome === "applied" ? result.table : table;
  };
  const of = (state: Winfo["state"], version: number, ...watchers: readonly string[]): Winfo => ({
    version,
    state,
    lists: [
      {
        resource: "sip:a@b.c",
        package: "presence",
        watchers: watchers.map((each) => {
          const [id, status] = each.split(" ") as [string, WatcherState["status"]];
          return { id, uri: `sip:${id}@b.c`, status, event: "subscribe" };
        }),
      },
    ],
  });
  const rows = (table: WatcherTable) =>
    [...(table.lists.get("sip:a@b.c") ?? [])].map(([id, { status }]) => `${id} ${status}`);

  it("full state flushes all tables; partial state updates rows and adds new ones", () => {
    const first = applied(NO_WATCHERS, of("full", 0, "x active", "y pending"));
    const second = applied(first, of("partial", 1, "y active", "z waiting"));
    expect(rows(second)).toEqual(["x active", "y active", "z waiting"]);
    expect(rows(applied(second, of("partial", 2, "x terminated")))).toEqual(["y active", "z waiting"]);
    expect(rows(applied(second, of("full", 2, "q active")))).toEqual(["q active"]);
  });

  it("a lower version is discarded; a higher than the next is processed, and full state to be asked for", () => {
    const table = applied(NO_WATCHERS, of("full", 5, "x active"));
    expect(applyWinfo(table, of("full", 4))).toEqual({ outcome: "discarded" });
    expect(applyWinfo(table, of("partial", 6))).toMatchObject({ gap: false });
    expect(applyWinfo(table, of("partial", 7, "y active"))).toMatchObject({ outcome: "applied", gap: true });
  });
});
