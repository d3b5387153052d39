import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { UserRecord } from "../../src/directory/directory.ts";
import { compileGlob, compileModels, modelOf } from "../../src/federation/model.ts";
import { runs } from "./make.ts";

const TABLE = compileModels([
  { match: "alice@example.com", model: { model: "unioned", style: "hierarchical", tree: "hq" } },
  { match: "*.lab@example.com", model: { model: "unioned", style: "peer", servers: ["east", "west"] } },
  { match: "*@example.com", model: { model: "exclusive", conflict: "refuse", refuseWith: 302 } },
]);

function record(change: Partial<UserRecord>): UserRecord {
  return { aor: "alice@example.com", model: null, settings: {}, identities: {}, ...change };
}

describe("the model of a user", () => {
  it("is that of the first rule that matches", () => {
    expect(modelOf(TABLE, "alice@example.com", null).from).toBe("models[0] alice@example.com");
    expect(modelOf(TABLE, "joe.lab@example.com", null)).toMatchObject({ model: { style: "peer" } });
    expect(modelOf(TABLE, "joe@example.com", null)).toEqual({
      model: { model: "exclusive", conflict: "refuse", refuseWith: 302 },
      from: "models[2] *@example.com",
    });
  });

  it("is partitioned where no rule matches", () => {
    expect(modelOf(TABLE, "joe@other.org", null)).toEqual({ model: { model: "partitioned" }, from: "default" });
    expect(modelOf(compileModels([]), "joe@other.org", null).from).toBe("default");
  });

  it("is that of his own record before all rules", () => {
    const own = record({ model: "partitioned" });
    expect(modelOf(TABLE, "alice@example.com", own)).toEqual({ model: { model: "partitioned" }, from: "user record" });
  });

  it("is the rules' where his record names none", () => {
    expect(modelOf(TABLE, "alice@example.com", record({})).from).toBe("models[0] alice@example.com");
  });

  it("takes settings from his record, with the defaults for what makes no sense", () => {
    const of = (model: UserRecord["model"], settings: UserRecord["settings"]) =>
      modelOf(TABLE, "alice@example.com", record({ model, settings })).model;
    expect(of("exclusive", {})).toEqual({ model: "exclusive", conflict: "takeover", refuseWith: 403 });
    expect(of("exclusive", { conflict: "refuse", "refuse-with": 302 })).toEqual({
      model: "exclusive",
      conflict: "refuse",
      refuseWith: 302,
    });
    expect(of("exclusive", { conflict: 7, "refuse-with": "x" })).toMatchObject({
      conflict: "takeover",
      refuseWith: 403,
    });
    expect(of("unioned", { tree: "hq" })).toEqual({ model: "unioned", style: "hierarchical", tree: "hq" });
    for (const style of [{ style: "peer" }, {}, { style: 7 }]) {
      expect(of("unioned", { ...style, servers: ["east", 3] })).toEqual({
        model: "unioned",
        style: "peer",
        servers: ["east"],
      });
    }
    expect(of("unioned", { style: "hierarchical" })).toEqual({ model: "unioned", style: "hierarchical" });
  });

  it("a unioned record that names neither tree nor servers has the configuration's for him", () => {
    const of = (aor: string) => modelOf(TABLE, aor, record({ model: "unioned" }));
    expect(of("alice@example.com")).toMatchObject({ model: { tree: "hq" }, from: "models[0] alice@example.com" });
    expect(of("x.lab@example.com")).toMatchObject({ model: { style: "peer", servers: ["east", "west"] } });
    expect(of("joe@example.com")).toEqual({ model: { model: "unioned", style: "peer" }, from: "user record" });
  });
});

describe("globs", () => {
  const rows: ReadonlyArray<readonly [string, string, boolean]> = [
    ["alice@example.com", "alice@example.com", true],
    ["alice@example.com", "alice@example.co", false],
    ["alice@Example.COM", "alice@example.com", true],
    ["Alice@example.com", "alice@example.com", false],
    ["*", "alice@example.com", true],
    ["Alice*", "Alice@example.com", true],
    ["*@example.com", "@example.com", true],
    ["*@example.com", "alice@sub.example.com", false],
    ["a*@example.com", "alice@example.com", true],
    ["a*@example.com", "bob@example.com", false],
    ["a*e@*.com", "alice@example.com", true],
    ["a*e@*.com", "alic@example.com", false],
    ["a**e@example.com", "ae@example.com", true],
    ["aa*aa@x", "aaa@x", false],
    ["*ab*ab*", "xabyabz", true],
    ["*ab*ab*", "xabyaz", false],
    [".+@x", "a@x", false],
    ["a.b@x", "acb@x", false],
  ];
  for (const [glob, aor, expected] of rows) {
    it(`${glob} ${expected ? "matches" : "does not match"} ${aor}`, () =>
      expect(compileGlob(glob)(aor)).toBe(expected));
  }

  it("match as the same pattern in regular expressions does", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "@"), maxLength: 8 });
    const glob = fc.string({ unit: fc.constantFrom("a", "b", "@", "*"), maxLength: 6 });
    fc.assert(
      fc.property(glob, text, (pattern, aor) => {
        const same = new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(aor);
        expect(compileGlob(pattern)(aor)).toBe(same);
      }),
      runs(2000),
    );
  });
});
