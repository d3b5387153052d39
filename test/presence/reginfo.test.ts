import { describe, expect, it } from "vitest";
import { parseReginfo, printReginfo, type Reginfo } from "../../src/presence/reginfo.ts";
import { applyReginfo, EMPTY_TABLE, type ReginfoTable } from "../../src/presence/reginfo-table.ts";
import { MalformedDocument } from "../../src/presence/xml.ts";
import { hasShared, sharedBytes } from "../torture/shared.ts";

const NS = 'xmlns="urn:ietf:params:xml:ns:reginfo"';

function contact(id: string, state: "active" | "terminated", event = state === "active" ? "registered" : "rejected") {
  return `<contact id="${id}" state="${state}" event="${event}"><uri>sip:${id}@h</uri></contact>`;
}

function document(version: number, state: "full" | "partial", ...contacts: string[]): Reginfo {
  return parseReginfo(
    `<reginfo ${NS} version="${version}" state="${state}"><registration aor="sip:a@b" id="r" state="active">${contacts.join("")}</registration></reginfo>`,
  );
}

describe("registration information documents (RFC 3680 5.1)", () => {
  it.skipIf(!hasShared("data/presence/examples"))("the RFC's examples (skipped without them)", () => {
    const first = parseReginfo(sharedBytes("data/presence/examples/rfc3680-001-reginfo.xml"));
    expect([first.version, first.state]).toEqual([0, "full"]);
    expect(first.registrations[0]).toMatchObject({ aor: "sip:user@example.com", id: "as9", state: "active" });
    expect(first.registrations[0]!.contacts.map(({ uri, state, event }) => [uri, state, event])).toEqual([
      ["sip:user@pc887.example.com", "active", "registered"],
      ["sip:user@university.edu", "terminated", "expired"],
    ]);
    const init = parseReginfo(sharedBytes("data/presence/examples/rfc3680-003-reginfo.xml"));
    expect(init.registrations).toEqual([{ aor: "sip:joe@example.com", id: "a7", state: "init", contacts: [] }]);
    // RFC 5628 puts elements of its own among them: elements from unknown namespaces MUST be ignored.
    const gruu = parseReginfo(sharedBytes("data/presence/examples/rfc5628-002-reginfo.xml"));
    expect(gruu.registrations.map((each) => each.contacts[0]?.uri)).toEqual(Array(3).fill("sip:ua.example.com"));
  });

  it("what is printed is read back", () => {
    const written: Reginfo = {
      version: 7,
      state: "partial",
      registrations: [
        {
          aor: 'sip:"a&b"@example.com',
          id: "r",
          state: "active",
          contacts: [
            {
              id: "c",
              uri: "sip:é@h;x=<1>",
              state: "terminated",
              event: "rejected",
              expires: null,
              retryAfter: 5,
              durationRegistered: 10,
              callId: "x",
              cseq: 4,
            },
          ],
        },
      ],
    };
    expect(parseReginfo(printReginfo(written))).toEqual(written);
  });

  it.each([
    ["another document", '<presence xmlns="urn:ietf:params:xml:ns:pidf"/>'],
    ["another namespace", '<reginfo version="0" state="full"/>'],
    ["no version", `<reginfo ${NS} state="full"/>`],
    ["a version that is no number", `<reginfo ${NS} version="-1" state="full"/>`],
    ["a version of more than 32 bits", `<reginfo ${NS} version="4294967296" state="full"/>`],
    ["neither full nor partial", `<reginfo ${NS} version="0" state="half"/>`],
    ["an external entity", `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///x">]><reginfo ${NS} version="0" state="full"/>`],
    ["no XML", "hello"],
  ])("%s is refused", (_, text) => {
    expect(() => parseReginfo(text)).toThrow(MalformedDocument);
  });

  it("a contact without what it must have is left out, the rest is used", () => {
    const read = document(
      0,
      "full",
      '<contact id="1" state="active"><uri>sip:x</uri></contact>',
      contact("2", "active"),
    );
    expect(read.registrations[0]!.contacts.map((each) => each.id)).toEqual(["2"]);
  });
});

describe("computing registrations from the documents (RFC 3680 5.2)", () => {
  function apply(table: ReginfoTable, next: Reginfo): { table: ReginfoTable; gap: boolean } {
    const applied = applyReginfo(table, next);
    if (applied.outcome !== "applied") throw new Error("discarded");
    return applied;
  }
  const contactsOf = (table: ReginfoTable) => table.registrations.get("r")?.contacts.map((each) => each.id) ?? null;

  it("partial state updates rows and adds rows; full state replaces everything", () => {
    let { table } = apply(EMPTY_TABLE, document(3, "full", contact("1", "active")));
    ({ table } = apply(table, document(4, "partial", contact("2", "active"))));
    expect(contactsOf(table)).toEqual(["1", "2"]);
    ({ table } = apply(table, document(5, "partial", contact("1", "terminated"))));
    expect(contactsOf(table)).toEqual(["2"]);
    ({ table } = apply(table, document(6, "full", contact("9", "active"))));
    expect(contactsOf(table)).toEqual(["9"]);
  });

  it("full documents that are all of version 0 replace each other: COMPAT Kamailio 5.6.3", () => {
    let { table } = apply(EMPTY_TABLE, document(0, "full", contact("1", "active")));
    expect(applyReginfo(table, document(0, "partial", contact("2", "active"))).outcome).toBe("discarded");
    ({ table } = apply(table, document(0, "full", contact("2", "active"))));
    expect(contactsOf(table)).toEqual(["2"]);
    ({ table } = apply(table, document(1, "full", contact("3", "active"))));
    expect(applyReginfo(table, document(0, "full")).outcome).toBe("discarded");
  });

  it("a version less than the last is discarded; one more than one higher is used and full state asked for", () => {
    const { table } = apply(EMPTY_TABLE, document(3, "full", contact("1", "active")));
    expect(applyReginfo(table, document(2, "full")).outcome).toBe("discarded");
    expect(applyReginfo(table, document(3, "full")).outcome).toBe("discarded");
    expect(apply(table, document(5, "partial", contact("2", "active"))).gap).toBe(true);
    expect(apply(table, document(5, "full", contact("2", "active"))).gap).toBe(false);
    expect(apply(table, document(4, "partial")).gap).toBe(false);
  });

  it("a registration that is terminated is gone", () => {
    const { table } = apply(EMPTY_TABLE, document(0, "full", contact("1", "active")));
    const ended = parseReginfo(
      `<reginfo ${NS} version="1" state="partial"><registration aor="sip:a@b" id="r" state="terminated"/></reginfo>`,
    );
    expect(apply(table, ended).table.registrations.size).toBe(0);
  });
});
