import { readFileSync } from "node:fs";
import { z } from "zod";
import type { App } from "./app.ts";

/** Nothing from elsewhere, nothing inline: what a name in the directory holds can never become a script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const FILES = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/page.js", "page.js", "text/javascript; charset=utf-8"],
  ["/page.css", "page.css", "text/css; charset=utf-8"],
] as const;

/** The admin page and the OpenAPI document: they tell nothing of this proxy, so they need no token. */
export function pageRoutes(app: App): void {
  for (const [url, file, type] of FILES) {
    const text = readFileSync(new URL(`../../web/${file}`, import.meta.url), "utf8");
    app.get(url, {
      config: { open: true },
      schema: { hide: true },
      handler: (_request, reply) => {
        reply.header("content-security-policy", POLICY).type(type);
        return reply.serializer((page: string) => page).send(text);
      },
    });
  }
  app.get("/api/v1/openapi.json", {
    config: { open: true },
    schema: {
      tags: ["status"],
      summary: "This document",
      security: [],
      response: { 200: z.looseObject({ openapi: z.string() }) },
    },
    handler: async () => app.swagger() as { openapi: string },
  });
}
