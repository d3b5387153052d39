import { describe, expect, it } from "vitest";
import { digestSecret } from "../../src/base/digest.ts";
import { ask, openDesk } from "./support.ts";

const ALICE = "/api/v1/users/alice@example.com";

describe("users", () => {
  it("PUT writes the record whole, GET gives it back; what is left out has its default", async () => {
    const desk = await openDesk();
    const put = await ask(desk, "PUT", ALICE, {
      model: "exclusive",
      settings: { conflict: "refuse", "refuse-with": 302 },
      identities: { east: "al" },
    });
    expect(put.status).toBe(200);
    const record = {
      model: "exclusive",
      settings: { conflict: "refuse", "refuse-with": 302 },
      identities: { east: "al" },
    };
    expect(put.body).toEqual({ aor: "alice@example.com", record, binding: null, epoch: 0, credentials: null });
    expect((await ask(desk, "GET", ALICE)).body).toEqual(put.body);
    await ask(desk, "PUT", ALICE, {});
    expect((await ask(desk, "GET", ALICE)).body.record).toEqual({ model: null, settings: {}, identities: {} });
  });

  it("an address is taken in any spelling and kept canonical", async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", "/api/v1/users/sip%3Aal%2569ce%40EXAMPLE.com", {});
    expect((await ask(desk, "GET", ALICE)).status).toBe(200);
  });

  it.each([
    ["alice", "bad-aor"],
    ["a b@example.com", "bad-aor"],
    ["@example.com", "bad-aor"],
    ["alice@elsewhere.org", "foreign-domain"],
  ])("%s is refused: %s", async (aor, code) => {
    const desk = await openDesk();
    const url = `/api/v1/users/${encodeURIComponent(aor)}`;
    for (const [method, path, body] of [
      ["GET", "", undefined],
      ["PUT", "", {}],
      ["DELETE", "", undefined],
      ["POST", "/bind", { server: "east" }],
      ["POST", "/move", { server: "east" }],
      ["POST", "/unbind", {}],
      ["PUT", "/password", { password: "x" }],
    ] as const) {
      const { status, body: answer } = await ask(desk, method, url + path, body);
      expect([status, answer.error.code, answer.error.field], `${method} ${path}`).toEqual([400, code, "aor"]);
    }
    expect(await desk.directory.users({ limit: 10 })).toEqual([]);
  });

  it.each([
    [{ modl: "x" }, "modl"],
    [{ model: "exclsive" }, "model"],
    [{ identities: { nowhere: "al" } }, "identities"],
    [{ identities: { east: "a l" } }, "identities.east"],
    [{ model: "unioned", settings: { servers: ["nowhere"] } }, "settings.servers"],
    [{ model: "unioned", settings: { servers: [] } }, "settings.servers"],
    [{ model: "unioned", settings: { tree: "nowhere" } }, "settings.tree"],
    [{ model: "unioned", settings: { tree: "hq", servers: ["east"] } }, "settings.servers"],
    [{ model: "unioned", settings: { style: "peer", tree: "hq" } }, "settings.tree"],
    [{ model: "unioned", settings: { style: "peer" } }, "settings.style"],
    [{ model: "unioned", settings: { style: "hierarchical" } }, "settings.style"],
    [{ model: "partitioned", settings: { conflict: "refuse" } }, "settings.conflict"],
    [{ settings: { conflict: "refuse" } }, "settings.conflict"],
    [{ model: "exclusive", settings: { colour: "red" } }, "settings.colour"],
    [{ password: "" }, "password"],
    [{ password: "x".repeat(257) }, "password"],
  ])("PUT %j is refused, names the field, and changes nothing", async (body, field) => {
    const desk = await openDesk();
    const { status, body: answer } = await ask(desk, "PUT", ALICE, body);
    expect([status, answer.error.field]).toEqual([400, field]);
    expect(answer.error.message).toMatch(/^\S.*\.$/);
    expect(await desk.directory.user("alice@example.com")).toBeNull();
  });

  it("a list is paged: every user once, in order", async () => {
    const desk = await openDesk();
    const all = Array.from({ length: 25 }, (_, i) => `u${String(i).padStart(2, "0")}@example.com`);
    for (const aor of all) await ask(desk, "PUT", `/api/v1/users/${aor}`, {});
    const seen: string[] = [];
    let after = "";
    for (let page = 0; page < 10; page++) {
      const { body } = await ask(desk, "GET", `/api/v1/users?limit=10${after}`);
      for (const user of body.users) seen.push(user.aor);
      if (body.next === null) break;
      after = `&after=${encodeURIComponent(body.next)}`;
    }
    expect(seen).toEqual(all);
  });

  it("a list by prefix and by server", async () => {
    const desk = await openDesk();
    for (const [aor, server] of [
      ["anna@example.com", "east"],
      ["andy@example.com", "west"],
      ["bert@example.com", "east"],
    ] as const) {
      await ask(desk, "POST", `/api/v1/users/${aor}/bind`, { server });
    }
    const list = async (query: string): Promise<string[]> =>
      (await ask(desk, "GET", `/api/v1/users?${query}`)).body.users.map((each: { aor: string }) => each.aor);
    expect(await list("prefix=an")).toEqual(["andy@example.com", "anna@example.com"]);
    expect(await list("server=east")).toEqual(["anna@example.com", "bert@example.com"]);
    expect(await list("server=east&prefix=b")).toEqual(["bert@example.com"]);
    expect((await ask(desk, "GET", "/api/v1/users?server=nowhere")).body.error).toEqual({
      code: "unknown-server",
      message: 'There is no server "nowhere": east, west, north are known.',
      field: "server",
    });
    for (const limit of ["0", "1001", "ten"])
      expect((await ask(desk, "GET", `/api/v1/users?limit=${limit}`)).body.error.field).toBe("limit");
  });

  it("DELETE takes record, binding and password; a second one is 404", async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", ALICE, { password: "x" });
    await ask(desk, "POST", `${ALICE}/bind`, { server: "east" });
    expect((await ask(desk, "DELETE", ALICE)).status).toBe(204);
    expect((await ask(desk, "GET", ALICE)).body.error.code).toBe("no-user");
    expect((await ask(desk, "DELETE", ALICE)).status).toBe(404);
    expect(await desk.directory.credentials("alice@example.com")).toBeNull();
  });
});

describe("passwords", () => {
  it("are kept as digest secrets of both algorithms (RFC 8760), for the names that clients say", async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", ALICE, { password: "sesame" });
    expect(await desk.directory.credentials("alice@example.com")).toEqual({
      aor: "alice@example.com",
      realm: "example.com",
      md5: digestSecret("MD5", "alice", "example.com", "sesame"),
      sha256: digestSecret("SHA-256", "alice", "example.com", "sesame"),
      whole: {
        md5: digestSecret("MD5", "alice@example.com", "example.com", "sesame"),
        sha256: digestSecret("SHA-256", "alice@example.com", "example.com", "sesame"),
      },
    });
    await ask(desk, "PUT", "/api/v1/users/bob@other.net/password", { password: "sesame" });
    expect((await desk.directory.credentials("bob@other.net"))?.md5).toBe(
      digestSecret("MD5", "bob@other.net", "example.com", "sesame"),
    );
  });

  it("are in no answer and in no audit entry, only that there is one", async () => {
    const desk = await openDesk();
    const put = await ask(desk, "PUT", ALICE, { password: "sesame-open" });
    expect(put.body.credentials).toEqual({ realm: "example.com", algorithms: ["SHA-256", "MD5"] });
    const secrets = await desk.directory.credentials("alice@example.com");
    const told = JSON.stringify([
      put.body,
      (await ask(desk, "GET", ALICE)).body,
      (await ask(desk, "GET", "/api/v1/users")).body,
      (await ask(desk, "GET", "/api/v1/audit")).body,
    ]);
    for (const secret of ["sesame-open", secrets!.md5!, secrets!.sha256!]) expect(told).not.toContain(secret);
  });

  it("null takes it away and leaves the record", async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", ALICE, { model: "exclusive", password: "sesame" });
    expect((await ask(desk, "PUT", `${ALICE}/password`, { password: null })).status).toBe(204);
    expect((await ask(desk, "GET", ALICE)).body).toMatchObject({ record: { model: "exclusive" }, credentials: null });
  });
});

describe("the audit trail", () => {
  it("tells who did what to whom and what was before, the newest first, in pages", async () => {
    const desk = await openDesk();
    await ask(desk, "PUT", ALICE, { model: "exclusive" }, { "x-actor": "anna" });
    await ask(desk, "PUT", ALICE, { model: "partitioned" });
    await ask(desk, "PUT", "/api/v1/users/bob@example.com", {});
    const { body } = await ask(desk, "GET", "/api/v1/audit?aor=alice@example.com");
    expect(body.next).toBeNull();
    expect(body.entries).toMatchObject([
      { actor: "local", action: "change-user", before: { model: "exclusive" }, after: { model: "partitioned" } },
      { actor: "local:anna", action: "add-user", aor: "alice@example.com", before: null },
    ]);
    expect(body.entries[0].at).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    const first = (await ask(desk, "GET", "/api/v1/audit?limit=2")).body;
    const second = (await ask(desk, "GET", `/api/v1/audit?limit=2&before=${first.next}`)).body;
    expect([...first.entries, ...second.entries].map((each) => each.action)).toEqual([
      "add-user",
      "change-user",
      "add-user",
    ]);
    expect((await ask(desk, "GET", "/api/v1/audit?before=x")).body.error.field).toBe("before");
  });

  it("an actor's name that could be mistaken in a log is refused", async () => {
    const desk = await openDesk();
    const { status, body } = await ask(desk, "PUT", ALICE, {}, { "x-actor": "anna\tb" });
    expect([status, body.error.field]).toEqual([400, "X-Actor"]);
  });
});
