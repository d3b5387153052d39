import { describe, expect, it } from "vitest";
import { ask, openDesk } from "./support.ts";

const BOB = "/api/v1/users/bob@example.com";

describe("bind", () => {
  it("binds, and tells what changed", async () => {
    const desk = await openDesk();
    const binding = { server: "east", origin: "admin", epoch: 1, expiresAt: null };
    const first = await ask(desk, "POST", `${BOB}/bind`, { server: "east" });
    expect([first.status, first.body]).toEqual([200, { binding, changed: true, previous: null }]);
    const again = await ask(desk, "POST", `${BOB}/bind`, { server: "east" });
    expect(again.body).toEqual({ binding, changed: false, previous: "east" });
    expect((await ask(desk, "GET", BOB)).body).toMatchObject({ record: null, binding, epoch: 1 });
  });

  it("with an expiry in the future; one in the past is refused", async () => {
    const desk = await openDesk();
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const { body } = await ask(desk, "POST", `${BOB}/bind`, { server: "east", expiresAt });
    expect(body.binding.expiresAt).toBe(expiresAt);
    for (const bad of ["2001-01-01T00:00:00Z", "tomorrow"])
      expect((await ask(desk, "POST", `${BOB}/bind`, { server: "east", expiresAt: bad })).body.error.field).toBe(
        "expiresAt",
      );
  });

  it("409 names the holder where another server has him and his model says nothing", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", `${BOB}/bind`, { server: "east", origin: "provisioned" });
    const { status, body } = await ask(desk, "POST", `${BOB}/bind`, { server: "west" });
    expect([status, body.error.code, body.binding.server, body.binding.origin]).toEqual([
      409,
      "held",
      "east",
      "provisioned",
    ]);
    expect((await ask(desk, "POST", `${BOB}/bind`, { server: "west", conflict: "takeover" })).status).toBe(200);
  });

  it("outranks what was learned, without a conflict", async () => {
    const desk = await openDesk();
    await desk.directory.learn("bob@example.com", "west", Date.now() + 60_000);
    expect((await ask(desk, "POST", `${BOB}/bind`, { server: "east" })).body).toMatchObject({ previous: "west" });
  });

  it("in the exclusive model the user's conflict rule decides: his record's, else the configuration's", async () => {
    const desk = await openDesk();
    for (const [aor, status] of [
      ["x-1@example.com", 409],
      ["y-1@example.com", 200],
    ] as const) {
      const url = `/api/v1/users/${aor}/bind`;
      await ask(desk, "POST", url, { server: "east" });
      expect((await ask(desk, "POST", url, { server: "west" })).status, aor).toBe(status);
    }
    await ask(desk, "PUT", "/api/v1/users/x-2@example.com", { model: "exclusive", settings: { conflict: "takeover" } });
    await ask(desk, "POST", "/api/v1/users/x-2@example.com/bind", { server: "east" });
    expect((await ask(desk, "POST", "/api/v1/users/x-2@example.com/bind", { server: "west" })).status).toBe(200);
  });

  it.each([
    [{}, "server"],
    [{ server: "nowhere" }, "server"],
    [{ server: "east", origin: "learned" }, "origin"],
    [{ server: "east", srever: "west" }, "srever"],
  ])("%j is refused and names the field", async (body, field) => {
    const desk = await openDesk();
    const answer = await ask(desk, "POST", `${BOB}/bind`, body);
    expect([answer.status, answer.body.error.field]).toEqual([400, field]);
    expect(await desk.directory.user("bob@example.com")).toBeNull();
  });
});

describe("move", () => {
  it("takes him wherever he is, by one change of epoch", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", `${BOB}/bind`, { server: "east" });
    const { body } = await ask(desk, "POST", `${BOB}/move`, { server: "west" });
    expect(body).toEqual({
      binding: { server: "west", origin: "admin", epoch: 2, expiresAt: null },
      changed: true,
      previous: "east",
    });
  });

  it("`from` makes it act only while he is there: else 409 with the holder", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", `${BOB}/bind`, { server: "east" });
    const wrong = await ask(desk, "POST", `${BOB}/move`, { server: "west", from: "north" });
    expect([wrong.status, wrong.body.binding.server]).toEqual([409, "east"]);
    expect([wrong.body.error.code, wrong.body.error.message]).toEqual([
      "bound-elsewhere",
      "bob@example.com is on east, not on north.",
    ]);
    expect((await ask(desk, "POST", `${BOB}/move`, { server: "west", from: "east" })).status).toBe(200);
  });

  it("moves nobody into being: 404 where there is no such user", async () => {
    const desk = await openDesk();
    for (const from of [{}, { from: "east" }]) {
      const nobody = await ask(desk, "POST", "/api/v1/users/nobody@example.com/move", { server: "west", ...from });
      expect([nobody.status, nobody.body.error.code]).toEqual([404, "no-user"]);
    }
    expect(await desk.directory.user("nobody@example.com")).toBeNull();
  });

  it("a provisioned binding pins an exclusive user: 409 with the holder (models.md, Words)", async () => {
    const desk = await openDesk();
    const user = "/api/v1/users/y-1@example.com";
    await ask(desk, "POST", `${user}/bind`, { server: "east", origin: "provisioned" });
    const { status, body } = await ask(desk, "POST", `${user}/move`, { server: "west" });
    expect([status, body.error.code, body.binding.server]).toEqual([409, "held", "east"]);
    expect(body.error.message).toBe("y-1@example.com is held by east (provisioned): unbind him first.");
  });
});

describe("unbind", () => {
  it("ends the binding and raises the epoch; then there is none", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", `${BOB}/bind`, { server: "east" });
    const { status, body } = await ask(desk, "POST", `${BOB}/unbind`);
    expect([status, body.epoch, body.previous.server]).toEqual([200, 2, "east"]);
    const again = await ask(desk, "POST", `${BOB}/unbind`);
    expect([again.status, again.body.error.code, again.body.binding]).toEqual([409, "not-bound", null]);
  });

  it("acts only while server and epoch named still hold", async () => {
    const desk = await openDesk();
    await ask(desk, "POST", `${BOB}/bind`, { server: "east" });
    for (const body of [{ server: "west" }, { epoch: 7 }]) {
      const answer = await ask(desk, "POST", `${BOB}/unbind`, body);
      expect([answer.status, answer.body.binding.server]).toEqual([409, "east"]);
    }
    expect((await ask(desk, "POST", `${BOB}/unbind`, { server: "east", epoch: 1 })).status).toBe(200);
  });
});

describe("the database away", () => {
  it("a change is 503 with Retry-After in the common shape, and reading too", async () => {
    const desk = await openDesk();
    desk.database.setAway(true);
    for (const [method, url, body] of [
      ["POST", `${BOB}/bind`, { server: "east" }],
      ["PUT", BOB, {}],
      ["GET", "/api/v1/users", undefined],
      ["POST", "/api/v1/servers/east/drain", undefined],
      ["POST", "/api/v1/users/import", { rows: [{ aor: "a@example.com" }] }],
    ] as const) {
      const answer = await ask(desk, method, url, body);
      expect([answer.status, answer.body.error.code, answer.headers["retry-after"]], url).toEqual([
        503,
        "directory-unavailable",
        "5",
      ]);
    }
    expect(desk.proxy.servers().some((each) => each.drained)).toBe(false);
    expect(desk.warnings).toEqual([]);
  });
});
