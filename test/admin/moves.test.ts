import { describe, expect, it, onTestFinished } from "vitest";
import type { AdminOptions } from "../../src/admin/ports.ts";
import { MOVER_OPTIONS, Mover } from "../../src/moving/mover.ts";
import { createRealRuntime } from "../../src/runtime/real.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { eventually } from "../support/child.ts";
import { ask, openDesk, type TestDesk } from "./support.ts";

/** A desk whose proxy runs batches. */
async function openMovingDesk(over: Partial<AdminOptions> = {}): Promise<TestDesk> {
  let mover: Mover | undefined;
  const desk = await openDesk({ mover: { wake: (id) => mover?.wake(id) }, ...over });
  const parts = {
    runtime: createRealRuntime(),
    telemetry: new Telemetry(),
    directory: desk.directory,
    models: () => desk.proxy.models,
  };
  mover = new Mover(parts, "proxy-1-x", { ...MOVER_OPTIONS, prepareMs: 20 });
  mover.start();
  onTestFinished(() => mover?.stop());
  return desk;
}

async function bind(desk: TestDesk, server: string, ...names: string[]): Promise<void> {
  for (const name of names)
    await ask(desk, "POST", `/api/v1/users/${name}@example.com/bind`, { server, conflict: "takeover" });
}

async function ended(desk: TestDesk, id: string) {
  return eventually("the batch has ended", async () => {
    const { body } = await ask(desk, "GET", `/api/v1/moves/${id}`);
    return body.endedAt === null ? undefined : body;
  });
}

describe("batches of moves", () => {
  it("of a server: runs at once, tells how far it is, and what became of each user", async () => {
    const desk = await openMovingDesk();
    await bind(desk, "east", "y-1", "y-2");
    await ask(desk, "POST", "/api/v1/users/y-3@example.com/bind", { server: "east", origin: "provisioned" });
    const made = await ask(desk, "POST", "/api/v1/moves", { from: "east", to: "west", rate: 1000 });
    expect([made.status, made.body.kind, made.body.state, made.body.actor]).toEqual([
      201,
      "server",
      "running",
      "local",
    ]);
    const batch = await ended(desk, made.body.id);
    expect(batch).toMatchObject({ state: "done", total: 3, moved: 2, refused: 1, undone: 0 });
    const { body } = await ask(desk, "GET", `/api/v1/moves/${made.body.id}/users`);
    expect(body.users.map((user: Record<string, unknown>) => [user["aor"], user["state"], user["reason"]])).toEqual([
      ["y-1@example.com", "moved", null],
      ["y-2@example.com", "moved", null],
      ["y-3@example.com", "refused", "he is provisioned on east"],
    ]);
    const refused = await ask(desk, "GET", `/api/v1/moves/${made.body.id}/users?state=refused&limit=1`);
    expect([refused.body.users.length, refused.body.next]).toEqual([1, 3]);
    const list = await ask(desk, "GET", "/api/v1/moves?open=true");
    expect(list.body).toEqual({ batches: [], next: null });
  });

  it("a list: filled row by row, the wrong ones told, then started; the same rows again do no harm", async () => {
    const desk = await openMovingDesk();
    await bind(desk, "east", "y-1", "y-2");
    const { id } = (await ask(desk, "POST", "/api/v1/moves", { rate: 1000 })).body;
    const rows = [
      { aor: "sip:y-1@EXAMPLE.com", server: "west" },
      { aor: "y-2@example.com", server: "nowhere" },
      { aor: "y-2@elsewhere.org", server: "west" },
      { aor: "y-2@example.com", server: "west", from: "west" },
      { aor: "y-2@example.com", server: "west", form: "east" },
      { aor: "y-2@example.com", server: "west", from: "north" },
    ];
    for (let i = 0; i < 2; i++) {
      const { status, body } = await ask(desk, "POST", `/api/v1/moves/${id}/users`, { first: 1, rows });
      expect([status, body.batch.total]).toEqual([200, 2]);
      expect(body.refused.map((each: { index: number }) => each.index)).toEqual([1, 2, 3, 4]);
      expect(body.refused[0].reason).toContain('no server "nowhere"');
    }
    await ask(desk, "POST", `/api/v1/moves/${id}/start`);
    expect(await ended(desk, id)).toMatchObject({ kind: "list", moved: 1, refused: 1 });
    const late = await ask(desk, "POST", `/api/v1/moves/${id}/users`, { first: 7, rows });
    expect([late.status, late.body.error.code]).toEqual([409, "wrong-state"]);
  });

  it("undo: a new batch; those who moved on since are left; a batch that runs is not undone", async () => {
    const desk = await openMovingDesk();
    await bind(desk, "east", ...Array.from({ length: 30 }, (_, i) => `y-${i}`));
    const { id } = (await ask(desk, "POST", "/api/v1/moves", { from: "east", to: "west", rate: 1 })).body;
    expect((await ask(desk, "POST", `/api/v1/moves/${id}/undo`)).status).toBe(409);
    await ask(desk, "POST", `/api/v1/moves/${id}/cancel`);
    const next = (await ask(desk, "POST", "/api/v1/moves", { from: "east", to: "west", rate: 1000 })).body;
    await ended(desk, next.id);
    await bind(desk, "north", "y-2");
    const undo = await ask(desk, "POST", `/api/v1/moves/${next.id}/undo`, { rate: 500 });
    expect([undo.status, undo.body.kind, undo.body.undoOf, undo.body.rate]).toEqual([201, "undo", next.id, 500]);
    const done = await ended(desk, undo.body.id);
    expect(done.refused).toBe(1);
    expect((await desk.directory.user("y-2@example.com"))?.binding?.server).toBe("north");
    expect((await ask(desk, "GET", `/api/v1/moves/${next.id}`)).body.undone).toBe(done.moved);
  });

  it("pause, resume, cancel: in their states only; unknown batches are 404", async () => {
    const desk = await openDesk();
    const { id } = (await ask(desk, "POST", "/api/v1/moves", { from: "east", to: "west" })).body;
    const state = async (order: string) => (await ask(desk, "POST", `/api/v1/moves/${id}/${order}`)).body;
    expect((await state("pause")).state).toBe("paused");
    expect((await state("resume")).state).toBe("running");
    expect((await state("cancel")).state).toBe("cancelled");
    expect((await state("resume")).error.code).toBe("wrong-state");
    for (const path of ["", "/users"])
      expect((await ask(desk, "GET", `/api/v1/moves/nothing${path}`)).status).toBe(404);
    for (const order of ["start", "pause", "resume", "cancel", "undo"])
      expect((await ask(desk, "POST", `/api/v1/moves/nothing/${order}`)).status, order).toBe(404);
  });

  it.each([
    [{ from: "east" }, "from"],
    [{ from: "nowhere", to: "west" }, "from"],
    [{ from: "east", to: "nowhere" }, "to"],
    [{ from: "east", to: "east" }, "to"],
    [{ from: "east", to: "west", rate: 0 }, "rate"],
    [{ from: "east", to: "west", fast: true }, "fast"],
  ])("%j is refused and names the field", async (body, field) => {
    const desk = await openDesk();
    const answer = await ask(desk, "POST", "/api/v1/moves", body);
    expect([answer.status, answer.body.error.field]).toEqual([400, field]);
    expect((await ask(desk, "GET", "/api/v1/moves")).body.batches).toEqual([]);
  });

  it("a dry run refuses what the move would: from a server to itself", async () => {
    const desk = await openDesk();
    const { status, body } = await ask(desk, "POST", "/api/v1/moves/check", { from: "east", to: "east" });
    expect([status, body.error.code, body.error.field]).toEqual([400, "same-server", "to"]);
  });

  it("a dry run counts and says who would be refused, and writes nothing", async () => {
    const desk = await openMovingDesk();
    await bind(desk, "east", "y-1", "y-2");
    await bind(desk, "north", "y-4");
    await ask(desk, "POST", "/api/v1/users/y-3@example.com/bind", { server: "east", origin: "provisioned" });
    const page = await ask(desk, "POST", "/api/v1/moves/check", { from: "east", to: "west" });
    expect(page.body).toEqual({
      checked: 3,
      movable: 2,
      refused: [{ index: 2, aor: "y-3@example.com", reason: "he is provisioned on east" }],
      next: null,
    });
    const rows = [
      { aor: "y-1@example.com", server: "west" },
      { aor: "y-4@example.com", server: "west", from: "east" },
      { aor: "nobody@example.com", server: "west" },
      { aor: "y-2@example.com", server: "nowhere" },
    ];
    const { body } = await ask(desk, "POST", "/api/v1/moves/check", { rows });
    expect([body.checked, body.movable]).toEqual([4, 1]);
    expect(body.refused.map((each: { reason: string }) => each.reason).slice(0, 2)).toEqual([
      "he is on north",
      "there is no such user",
    ]);
    expect((await ask(desk, "GET", "/api/v1/moves")).body.batches).toEqual([]);
    expect((await desk.directory.user("y-1@example.com"))?.binding?.epoch).toBe(1);
  });

  it("every order stands in the audit trail with who gave it", async () => {
    const desk = await openDesk();
    const actor = { "x-actor": "ann" };
    const { id } = (await ask(desk, "POST", "/api/v1/moves", { from: "east", to: "west" }, actor)).body;
    for (const order of ["pause", "undo", "cancel"]) await ask(desk, "POST", `/api/v1/moves/${id}/${order}`, {}, actor);
    const { entries } = (await ask(desk, "GET", "/api/v1/audit")).body;
    expect(entries.map((each: Record<string, unknown>) => [each["action"], each["actor"]])).toEqual([
      ["cancel-moves", "local:ann"],
      ["undo-moves", "local:ann"],
      ["pause-moves", "local:ann"],
      ["create-moves", "local:ann"],
    ]);
  });
});

describe("one move that makes before it breaks", () => {
  it("every proxy is told first, then he is moved; if he went elsewhere meanwhile he stays there", async () => {
    const desk = await openDesk();
    await bind(desk, "east", "y-1", "y-2");
    const heard: string[] = [];
    const prepared = new Promise<void>((resolve) => {
      desk.directory.onChange((change) => {
        heard.push(change.kind);
        if (change.kind === "preparing" && change.aor === "y-2@example.com") resolve();
      });
    });
    const move = (name: string) =>
      ask(desk, "POST", `/api/v1/users/${name}@example.com/move`, { server: "west", makeBeforeBreak: true });
    const [first, second] = await Promise.all([
      move("y-1"),
      move("y-2"),
      prepared.then(() => bind(desk, "north", "y-2")),
    ]);
    expect([first.status, first.body.previous, first.body.binding.server]).toEqual([200, "east", "west"]);
    expect([second.status, second.body.binding.server]).toEqual([409, "north"]);
    expect(heard[0]).toBe("preparing");
  });
});
