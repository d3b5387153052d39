import { describe, expect, it } from "vitest";
import { ask, openDesk, TOKEN } from "./support.ts";

const withToken = { listen: { host: "127.0.0.1", port: 0, token: TOKEN } };
const bearer = { authorization: `Bearer ${TOKEN}` };

describe("with a token", () => {
  it("everything under /api and /metrics wants it", async () => {
    const desk = await openDesk(withToken);
    for (const url of ["/api/v1/users", "/api/v1/servers", "/api/v1/status", "/api/v1/audit", "/metrics"]) {
      const { status, body, headers } = await ask(desk, "GET", url);
      expect([status, body.error.code, headers["www-authenticate"]], url).toEqual([
        401,
        "no-token",
        'Bearer realm="codomain"',
      ]);
      expect((await ask(desk, "GET", url, undefined, bearer)).status, url).toBe(200);
    }
  });

  it.each([`Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, "Bearer x", `Basic ${TOKEN}`, "Bearer", TOKEN, ""])(
    "%j is not it",
    async (authorization) => {
      const desk = await openDesk(withToken);
      expect((await ask(desk, "GET", "/api/v1/users", undefined, { authorization })).status).toBe(401);
      expect((await ask(desk, "PUT", "/api/v1/users/a@example.com", {}, { authorization })).status).toBe(401);
      expect(await desk.directory.users({ limit: 1 })).toEqual([]);
    },
  );

  it("health, readiness, the page and the OpenAPI document want none", async () => {
    const desk = await openDesk(withToken);
    for (const url of ["/healthz", "/readyz", "/", "/page.js", "/page.css", "/api/v1/openapi.json"])
      expect((await ask(desk, "GET", url)).status, url).toBe(200);
  });

  it("any host name will do: it may be reached through another", async () => {
    const desk = await openDesk(withToken);
    expect((await ask(desk, "GET", "/api/v1/users", undefined, { ...bearer, host: "admin.example.com" })).status).toBe(
      200,
    );
  });

  it("the audit trail says that a token was used, and by whom he said he is", async () => {
    const desk = await openDesk(withToken);
    await ask(desk, "PUT", "/api/v1/users/a@example.com", {}, bearer);
    await ask(desk, "PUT", "/api/v1/users/b@example.com", {}, { ...bearer, "x-actor": "anna" });
    const entries = await desk.directory.audit({ limit: 2 });
    expect(entries.map((each) => each.actor)).toEqual(["token:anna", "token"]);
  });
});

describe("without a token", () => {
  it.each(["0.0.0.0", "192.0.2.1", "::", "example.com", "1270.0.0.1"])("listening on %s is refused", async (host) => {
    await expect(openDesk({ listen: { host, port: 0, token: null } })).rejects.toThrow(/needs a token/);
  });

  it.each(["127.0.0.1", "127.0.0.1:8060", "localhost", "LOCALHOST:8060", "[::1]:8060", "127.9.9.9"])(
    "Host %s is this machine",
    async (host) => {
      const desk = await openDesk();
      expect((await ask(desk, "GET", "/api/v1/users", undefined, { host })).status).toBe(200);
    },
  );

  it.each([
    "evil.example",
    "evil.example:8060",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "[::2]",
    "10.0.0.1",
  ])("Host %s is another name that leads here: DNS rebinding is refused", async (host) => {
    const desk = await openDesk();
    for (const url of ["/api/v1/users", "/metrics", "/", "/readyz"]) {
      const { status, body } = await ask(desk, "GET", url, undefined, { host });
      expect([status, body.error.code], url).toEqual([403, "foreign-host"]);
    }
  });
});

describe("web pages", () => {
  it("of another origin cannot use the API, with or without a token", async () => {
    for (const [desk, headers] of [
      [await openDesk(), {}],
      [await openDesk(withToken), bearer],
    ] as const) {
      for (const origin of ["http://evil.example", "null", "http://127.0.0.1:1"]) {
        const { status, body } = await ask(desk, "POST", "/api/v1/servers/east/drain", undefined, {
          ...headers,
          origin,
        });
        expect([status, body.error.code], origin).toEqual([403, "foreign-origin"]);
      }
      const own = { ...headers, host: "127.0.0.1:8060", origin: "http://127.0.0.1:8060" };
      expect((await ask(desk, "POST", "/api/v1/servers/east/drain", undefined, own)).status).toBe(200);
    }
  });

  it("a body is taken as application/json only: a form sent by a page is none", async () => {
    const desk = await openDesk();
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      const response = await desk.app.inject({
        method: "PUT",
        url: "/api/v1/users/a@example.com",
        headers: { host: "127.0.0.1", "content-type": type },
        payload: "{}",
      });
      expect([response.statusCode, response.json().error.code], type).toEqual([415, "bad-media-type"]);
    }
  });

  it("the page may load nothing from elsewhere and stands in no frame", async () => {
    const desk = await openDesk();
    const { headers, body } = await ask(desk, "GET", "/");
    const policy = String(headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(body).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=|style=|https?:\/\//);
  });
});

describe("input that is none", () => {
  it.each([
    ["no JSON", "{bad", 400, "bad-json"],
    ["nothing", "", 400, "bad-json"],
    ["a list", "[]", 400, "invalid"],
    ["null", "null", 400, "invalid"],
    ["a prototype", '{"__proto__": {"server": "east"}}', 400, "bad-json"],
    ["70 kB", `{"server": "${"x".repeat(70_000)}"}`, 413, "too-large"],
  ])("%s in place of a body is refused", async (_what, payload, status, code) => {
    const desk = await openDesk();
    const response = await desk.app.inject({
      method: "POST",
      url: "/api/v1/users/a@example.com/bind",
      headers: { host: "127.0.0.1", "content-type": "application/json" },
      payload,
    });
    expect([response.statusCode, response.json().error.code]).toEqual([status, code]);
    expect(response.json().error.message).toMatch(/\.$/);
  });

  it("an unknown path, and an unknown method, are 404 in the common shape", async () => {
    const desk = await openDesk();
    expect((await ask(desk, "GET", "/api/v1/nothing")).body.error.code).toBe("not-found");
    expect((await ask(desk, "DELETE", "/api/v1/servers")).body.error.code).toBe("not-found");
    expect((await ask(desk, "GET", `/api/v1/users/${"%".repeat(3)}`)).status).toBe(400);
  });

  it("a failure inside is told to the log and not to the caller", async () => {
    const desk = await openDesk({ counts: () => Promise.reject(new Error("secret detail")) });
    const { status, body } = await ask(desk, "GET", "/api/v1/status");
    expect([status, body.error.code]).toEqual([500, "internal"]);
    expect(JSON.stringify(body)).not.toContain("secret");
    expect(desk.warnings.join()).toContain("secret detail");
  });
});
