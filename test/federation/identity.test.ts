import { describe, expect, it } from "vitest";
import type { UserRecord } from "../../src/directory/directory.ts";
import {
  buildIdentityTable,
  canonicalFrom,
  identitiesOf,
  identityOn,
  isNamedAlike,
} from "../../src/federation/identity.ts";

const JOE = "joe@example.com";
const TABLE = buildIdentityTable([
  { name: "east", identities: {} },
  { name: "north", identities: { [JOE]: "joe.smith", "same@example.com": "same" } },
  { name: "west", identities: { [JOE]: "j@West.example.com" } },
]);

function record(identities: Record<string, string>): UserRecord {
  return { aor: JOE, model: null, settings: {}, identities };
}

describe("identities", () => {
  it("a user part stands before the AoR's own host", () => {
    expect(identityOn(TABLE, JOE, "north")).toBe("joe.smith@example.com");
  });

  it("a full AoR stands for itself", () => {
    expect(identityOn(TABLE, JOE, "west")).toBe("j@west.example.com");
  });

  it("where a server has none, he has his AoR", () => {
    expect(identityOn(TABLE, JOE, "east")).toBe(JOE);
    expect(identityOn(TABLE, "ann@example.com", "north")).toBe("ann@example.com");
  });

  it("are null for a user who has none, so that the common case costs nothing", () => {
    expect(identitiesOf(TABLE, "ann@example.com", null)).toBeNull();
    expect(identitiesOf(TABLE, "same@example.com", null)).toBeNull();
    expect(identitiesOf(TABLE, "ann@example.com", record({}))).toBeNull();
  });

  it("of his record beat the configuration's", () => {
    const own = record({ north: "joseph", east: "jo" });
    expect({ ...identitiesOf(TABLE, JOE, own) }).toEqual({
      north: "joseph@example.com",
      east: "jo@example.com",
      west: "j@west.example.com",
    });
    expect(identityOn(TABLE, JOE, "north", record({ north: "joe" }))).toBe(JOE);
  });

  it("are mapped back on the way in, of that server only", () => {
    expect(canonicalFrom(TABLE, "north", "joe.smith@example.com")).toBe(JOE);
    expect(canonicalFrom(TABLE, "east", "joe.smith@example.com")).toBe("joe.smith@example.com");
  });

  it("of records that are known here count both ways, and beat the configuration's", () => {
    const table = buildIdentityTable([{ name: "north", identities: { [JOE]: "joe.smith" } }], {
      size: 1,
      identitiesOf: (aor) => (aor === JOE ? { north: "joseph", east: "jo" } : undefined),
      whoIs: (server, identity) => (server === "east" && identity === "jo@example.com" ? JOE : undefined),
    });
    expect([identityOn(table, JOE, "east"), identityOn(table, JOE, "north")]).toEqual([
      "jo@example.com",
      "joseph@example.com",
    ]);
    expect(canonicalFrom(table, "east", "jo@example.com")).toBe(JOE);
    expect(canonicalFrom(table, "north", "jo@example.com")).toBe("jo@example.com");
    expect([isNamedAlike(table), isNamedAlike(buildIdentityTable([]))]).toEqual([false, true]);
  });

  it("go out and come back as the same user", () => {
    for (const server of ["east", "north", "west"]) {
      expect(canonicalFrom(TABLE, server, identityOn(TABLE, JOE, server))).toBe(JOE);
    }
  });

  it("a server named like a property of every object is a name like any other", () => {
    expect(identityOn(TABLE, JOE, "constructor")).toBe(JOE);
    expect(identityOn(TABLE, "toString", "north")).toBe("toString");
  });
});
