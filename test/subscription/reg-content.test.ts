import { describe, expect, it } from "vitest";
import { parseReginfo, type Reginfo } from "../../src/presence/reginfo.ts";
import { applyReginfo, EMPTY_TABLE, type ReginfoTable } from "../../src/presence/reginfo-table.ts";
import {
  MOST_IN_DOCUMENT,
  MOST_WAITING,
  type RegPlace,
  type RegReader,
  RegServerContent,
  RegUserContent,
} from "../../src/subscription/reg-content.ts";

const EAST: RegReader = { contact: "sip:127.0.0.11:5060", reads: "contact" };

function place(at: RegPlace["at"], epoch = 1, aor = "bob@example.com"): RegPlace {
  return { aor, identity: aor, epoch, at, origin: null, expires: null };
}

function allTold(reader: RegReader, at: RegPlace["at"], change: Partial<RegPlace> = {}): Reginfo["registrations"] {
  const content = new RegUserContent(reader, { ...place(at), ...change }, () => undefined);
  return parseReginfo(content.body(1)).registrations;
}

function told(...args: Parameters<typeof allTold>): Reginfo["registrations"][number] {
  return allTold(...args)[0]!;
}

describe("what a server is told of one user (RFC 3680; models.md, Eviction)", () => {
  it("who has him sees active; registered by SIP, created by other means", () => {
    expect(told(EAST, "here", { expires: 60 })).toMatchObject({
      aor: "sip:bob@example.com",
      state: "active",
      contacts: [{ uri: EAST.contact, state: "active", event: "registered", expires: 60 }],
    });
    expect(told(EAST, "here", { origin: "admin" }).contacts[0]!.event).toBe("created");
  });

  it("who lost him sees his contact terminated, rejected and never deactivated, of a registration that lives on", () => {
    expect(told(EAST, "taken")).toMatchObject({
      state: "active",
      contacts: [{ uri: EAST.contact, state: "terminated", event: "rejected" }],
    });
  });

  it("one that reads whole registrations only sees the registration terminated", () => {
    const whole: RegReader = { ...EAST, reads: "whole" };
    expect(told(whole, "taken")).toMatchObject({
      state: "terminated",
      contacts: [{ state: "terminated", event: "rejected" }],
    });
    expect([allTold(whole, "here"), allTold(whole, "nowhere")]).toEqual([[], []]);
  });

  it("nobody has him: terminated for who had him, init for who had not (RFC 3680 4.7.1)", () => {
    expect(told(EAST, "gone")).toMatchObject({ state: "terminated", contacts: [{ event: "unregistered" }] });
    expect(told(EAST, "nowhere")).toMatchObject({ state: "init", contacts: [] });
  });

  it("by the name that server knows him by; the id is the same whatever he is called", () => {
    expect(told(EAST, "here", { identity: "robert@east.example" })).toMatchObject({
      aor: "sip:robert@east.example",
      id: "bob@example.com",
    });
  });

  it("versions begin at 0 with the second NOTIFY, the first of which accepts only, and go with them", () => {
    const content = new RegUserContent(EAST, place("here"), () => undefined);
    expect([2, 3, 4].map((cseq) => parseReginfo(content.body(cseq)).version)).toEqual([0, 1, 2]);
    expect(parseReginfo(content.body(4)).state).toBe("full");
  });

  it("a taking is reported once, when its document has arrived", () => {
    const reported: number[] = [];
    const content = new RegUserContent(EAST, place("taken", 5), (evicted) =>
      reported.push(...evicted.map((e) => e.epoch)),
    );
    content.body(1);
    content.answered(false);
    expect(reported).toEqual([]);
    for (const cseq of [2, 3]) {
      content.body(cseq);
      content.answered(true);
    }
    expect(reported).toEqual([5]);
  });
});

describe("what a server is told of all its users", () => {
  function reader(content: RegServerContent) {
    let table: ReginfoTable = EMPTY_TABLE;
    let cseq = 1;
    return {
      /** One NOTIFY; lost ones are repeated with the next CSeq, and a version is missing. */
      notify(arrives: boolean): Reginfo {
        const document = parseReginfo(content.body(++cseq));
        if (arrives) {
          const applied = applyReginfo(table, document);
          if (applied.outcome === "applied") table = applied.table;
        }
        content.answered(arrives);
        return document;
      },
      get users(): string[] {
        return [...table.registrations.values()]
          .filter((each) => each.contacts.length > 0)
          .map((each) => each.id)
          .sort();
      },
    };
  }
  const users = (count: number) =>
    Array.from({ length: count }, (_, i) => `u${String(i).padStart(5, "0")}@example.com`);

  it("the first document is full, what changes follows in partial ones", () => {
    const content = new RegServerContent(EAST, () => undefined);
    const server = reader(content);
    for (const aor of users(3)) content.note(place("here", 1, aor));
    expect(server.notify(true)).toMatchObject({ version: 0, state: "full" });
    expect(content.owed).toBe(false);
    content.note(place("taken", 2, users(3)[1]));
    content.note(place("here", 1, "new@example.com"));
    expect(server.notify(true)).toMatchObject({ version: 1, state: "partial" });
    expect(server.users).toEqual(["new@example.com", users(3)[0], users(3)[2]]);
  });

  it("more than fit into one come in parts, each small enough for a message", () => {
    const content = new RegServerContent(EAST, () => undefined);
    const server = reader(content);
    const all = users(3 * MOST_IN_DOCUMENT + 7);
    for (const aor of all) content.note(place("here", 1, aor));
    const documents = [];
    while (content.owed) documents.push(server.notify(true));
    expect(documents.map((each) => each.state)).toEqual(["full", "partial", "partial", "partial"]);
    expect(server.users).toEqual(all);
    for (const aor of all) content.note({ ...place("taken", 2, aor), identity: `${"x".repeat(100)}@example.com` });
    expect(content.body(99).length).toBeLessThan(60_000);
  });

  it("what did not arrive is told once more, what is newer instead of it", () => {
    const content = new RegServerContent(EAST, () => undefined);
    const server = reader(content);
    content.note(place("here", 1));
    expect(server.notify(false).state).toBe("full");
    content.note(place("taken", 2));
    const again = server.notify(true);
    expect([again.state, again.registrations.length]).toEqual(["full", 1]);
    expect(again.registrations[0]!.contacts[0]!.event).toBe("rejected");
    expect(content.owed).toBe(false);
  });

  it("older news does not replace newer", () => {
    const content = new RegServerContent(EAST, () => undefined);
    content.note(place("taken", 5));
    content.note(place("here", 4));
    expect(parseReginfo(content.body(1)).registrations[0]!.contacts[0]!.event).toBe("rejected");
  });

  it("what waits is bounded", () => {
    const content = new RegServerContent(EAST, () => undefined);
    const all = users(MOST_WAITING + 1);
    expect(all.slice(0, -1).every((aor) => content.note(place("here", 1, aor)))).toBe(true);
    expect(content.note(place("here", 1, all.at(-1)!))).toBe(false);
    expect(content.note(place("taken", 2, all[0]!))).toBe(true);
    content.begin();
    expect([content.waiting, content.owed]).toEqual([0, true]);
  });
});
