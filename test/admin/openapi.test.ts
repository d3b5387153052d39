import { describe, expect, it } from "vitest";
import { ask, openDesk } from "./support.ts";

describe("the OpenAPI document", () => {
  it("is the one in docs/openapi.json (`npx vitest run test/admin/openapi.test.ts -u` writes it anew)", async () => {
    const { body } = await ask(await openDesk(), "GET", "/api/v1/openapi.json");
    await expect(`${JSON.stringify(body, null, 2)}\n`).toMatchFileSnapshot("../../docs/openapi.json");
  });

  it("names every route once, says what it does, and refers to nothing that is not there", async () => {
    const { body } = await ask(await openDesk(), "GET", "/api/v1/openapi.json");
    expect(body.openapi).toMatch(/^3\.1/);
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining(["/healthz", "/readyz", "/metrics", "/api/v1/users/{aor}/move", "/api/v1/explain"]),
    );
    for (const [path, methods] of Object.entries(body.paths as Record<string, Record<string, { summary?: string }>>))
      for (const [method, route] of Object.entries(methods))
        expect(route.summary, `${method} ${path}`).toMatch(/^[A-Z]/);
    const text = JSON.stringify(body);
    for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g))
      expect(Object.keys(body.components.schemas)).toContain(name);
    expect(text).not.toMatch(/x-component|"#\/\$defs|def-\d/);
  });
});
