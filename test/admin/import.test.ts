import { describe, expect, it } from "vitest";
import { ask, openDesk } from "./support.ts";

const IMPORT = "/api/v1/users/import";

describe("import", () => {
  it("takes records and provisioned bindings; every refused row is told with its reason and stops nobody", async () => {
    const desk = await openDesk();
    const { status, body } = await ask(desk, "POST", IMPORT, {
      rows: [
        { aor: "a@example.com", model: "exclusive", server: "east", identities: { east: "al" } },
        { aor: "b@elsewhere.org", server: "east" },
        { aor: "c@example.com", server: "nowhere" },
        { aor: "a@EXAMPLE.com", server: "west" },
        7,
        { aor: "d@example.com", modl: "exclusive" },
        { aor: "e@example.com", settings: { conflict: "refuse" } },
        { aor: "f@Example.Com" },
      ],
    });
    expect(status).toBe(200);
    expect(body.imported).toBe(2);
    expect(body.refused).toMatchObject([
      { index: 1, aor: "b@elsewhere.org", reason: expect.stringContaining("elsewhere.org") },
      { index: 2, aor: "c@example.com", reason: expect.stringContaining("nowhere") },
      { index: 3, aor: "a@example.com", reason: expect.stringContaining("earlier row") },
      { index: 4, aor: "", reason: expect.stringContaining("The row is not valid") },
      { index: 5, aor: "d@example.com", reason: expect.stringContaining("modl") },
      { index: 6, aor: "e@example.com", reason: expect.stringContaining("conflict") },
    ]);
    expect(await desk.directory.user("a@example.com")).toMatchObject({
      record: { model: "exclusive", identities: { east: "al" } },
      binding: { server: "east", origin: "provisioned" },
    });
    expect(await desk.directory.user("f@example.com")).toMatchObject({ binding: null });
  });

  it("the same import again changes nothing", async () => {
    const desk = await openDesk();
    const rows = [{ aor: "a@example.com", server: "east" }];
    await ask(desk, "POST", IMPORT, { rows });
    const before = await desk.directory.user("a@example.com");
    expect((await ask(desk, "POST", IMPORT, { rows })).body).toEqual({ imported: 1, refused: [] });
    expect(await desk.directory.user("a@example.com")).toEqual(before);
  });

  it("1000 rows are taken at once, 1001 are refused whole", async () => {
    const desk = await openDesk();
    const rows = Array.from({ length: 1001 }, (_, i) => ({ aor: `u${i}@example.com`, server: "east" }));
    const { status, body } = await ask(desk, "POST", IMPORT, { rows });
    expect([status, body.error.field]).toEqual([400, "rows"]);
    expect((await ask(desk, "POST", IMPORT, { rows: rows.slice(1) })).body.imported).toBe(1000);
  });
});
