import { describe, expect, it } from "vitest";
import { keepMessage, keepSubscriptions } from "./kept.ts";
import { ask, openDesk } from "./support.ts";

describe("subscriptions", () => {
  it("of all proxies: held ones wait for their user, live ones name the server; filtered and paged", async () => {
    const desk = await openDesk();
    await keepSubscriptions(desk.directory);
    const list = async (query = "") => (await ask(desk, "GET", `/api/v1/subscriptions${query}`)).body;
    const all = await list();
    expect([all.next, all.forked]).toEqual([null, 3]);
    expect(all.subscriptions).toEqual([
      {
        id: "cdm-1",
        presentity: "alice@example.com",
        watcher: "bob@example.com",
        event: "presence",
        state: "held",
        server: null,
        servers: [],
        epoch: 0,
        origin: "west",
        expiresAt: "2100-01-01T00:00:00.000Z",
        proxy: expect.stringMatching(/^proxy-1-/),
      },
      expect.objectContaining({ id: "cdm-2", state: "live", server: "east", epoch: 1 }),
    ]);
    const ids = async (query: string) => (await list(query)).subscriptions.map((each: { id: string }) => each.id);
    expect(await ids("?held=true")).toEqual(["cdm-1"]);
    expect(await ids("?kind=presence&held=false")).toEqual(["cdm-2"]);
    expect(await ids("?kind=composed")).toEqual([]);
    expect(await ids("?held=false")).toEqual(["cdm-2"]);
    expect(await ids("?aor=sip:carol@EXAMPLE.com")).toEqual(["cdm-2"]);
    expect(await ids("?watcher=bob@example.com&limit=1")).toEqual(["cdm-1"]);
    expect(await ids("?after=cdm-1&limit=1")).toEqual(["cdm-2"]);
    expect((await ask(desk, "GET", "/api/v1/subscriptions/count")).body).toEqual({
      held: 1,
      live: 1,
      composed: 0,
      reg: 0,
      winfo: 0,
    });
    for (const query of ["?held=perhaps", "?kind=else", "?aor=alice@elsewhere.org", "?watcher=bob", "?heldd=true"])
      expect((await ask(desk, "GET", `/api/v1/subscriptions${query}`)).status, query).toBe(400);
  });
});

describe("messages", () => {
  it("are listed and traced, and nowhere is told what they say", async () => {
    const desk = await openDesk();
    const id = await keepMessage(desk.directory);
    const list = await ask(desk, "GET", "/api/v1/messages?state=stored&recipient=alice@example.com");
    expect(list.body.messages).toHaveLength(1);
    expect(list.body.messages[0]).toMatchObject({ id, sender: "bob@example.com", state: "stored", endedAt: null });
    const trace = await ask(desk, "GET", `/api/v1/messages/${id}/trace`);
    expect(trace.body.trace.map((each: { event: string }) => each.event)).toEqual(["received", "stored"]);
    const count = await ask(desk, "GET", "/api/v1/messages/count");
    expect(count.body).toMatchObject({ messages: 1, queues: 1 });
    expect(JSON.stringify([list.body, trace.body, count.body])).not.toContain("secret");
    expect((await ask(desk, "GET", "/api/v1/messages?state=delivered")).body).toEqual({ messages: [], next: null });
    expect((await ask(desk, "GET", "/api/v1/messages/none/trace")).body.error.code).toBe("no-message");
    expect((await ask(desk, "GET", "/api/v1/messages?sender=bob")).status).toBe(400);
  });
});
