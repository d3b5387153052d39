import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { DOCUMENT_KINDS, type DocumentKind, type Precondition } from "../directory/user-documents.ts";
import { ALGORITHMS, MOST_WEIGHT } from "../federation/routing-choice.ts";
import { parseRouting, printRouting } from "../federation/routing-document.ts";
import { checkRules } from "../policy/check-rules.ts";
import { MalformedDocument } from "../presence/xml.ts";
import type { EntityTags } from "../xcap/answer.ts";
import type { App, Desk } from "./app.ts";
import { USAGES } from "./document-usages.ts";
import { entityTags } from "./entity-tags.ts";
import { Problem } from "./problem.ts";
import { aor, component, iso } from "./schemas.ts";

const tags = ["documents"];
const userParams = z.object({ aor });
const params = z.object({ aor, kind: z.enum(DOCUMENT_KINDS) });

const summarySchema = component(
  "DocumentSummary",
  z.object({
    kind: z.enum(DOCUMENT_KINDS),
    etag: z.string(),
    changedAt: z.string().describe("ISO 8601, UTC"),
    octets: z.int(),
  }),
);

const documentSchema = summarySchema.extend({ aor: z.string(), text: z.string() });

const writtenSchema = z.object({
  etag: z.string(),
  created: z.boolean(),
  warnings: z.array(z.string()).describe("what of it has no effect, or not the one that may be meant"),
});

const routingSchema = z.object({
  algorithm: z.enum(ALGORITHMS),
  weights: z
    .record(z.string().min(1).max(64), z.int().min(0).max(MOST_WEIGHT))
    .default({})
    .describe("server -> how many of the sum of all; of one not named 1"),
});

const routingAnswer = routingSchema.extend({ etag: z.string().nullable().describe("null: he has no setting") });

export type DocumentJson = z.output<typeof documentSchema>;
export type DocumentSummaryJson = z.output<typeof summarySchema>;
export type WrittenJson = z.output<typeof writtenSchema>;
export type RoutingJson = z.output<typeof routingAnswer>;

/** Users' documents: what XCAP serves them, for admins. */
export function documentRoutes(app: App, { options, names }: Desk): void {
  const { documents } = options.directory;

  app.get("/api/v1/users/:aor/documents", {
    schema: {
      tags,
      summary: "The documents a user has",
      params: userParams,
      response: { 200: z.object({ documents: z.array(summarySchema) }) },
    },
    handler: async (request) => {
      const user = names.user(request.params.aor);
      const found = await Promise.all(DOCUMENT_KINDS.map((kind) => documents.get(user, kind)));
      return {
        documents: found
          .filter((each) => each !== null)
          .map(({ kind, etag, changedAt, text }) => ({
            kind,
            etag,
            changedAt: iso(changedAt),
            octets: Buffer.byteLength(text),
          })),
      };
    },
  });

  app.get("/api/v1/users/:aor/documents/:kind", {
    schema: { tags, summary: "A document, with its entity tag", params, response: { 200: documentSchema } },
    handler: async (request, reply) => {
      const { kind } = request.params;
      const user = names.user(request.params.aor);
      const found = await documents.get(user, kind);
      if (found === null) throw noDocument(user, kind);
      reply.header("etag", `"${found.etag}"`);
      const { etag, changedAt, text } = found;
      return { aor: user, kind, etag, changedAt: iso(changedAt), octets: Buffer.byteLength(text), text };
    },
  });

  app.put("/api/v1/users/:aor/documents/:kind", {
    schema: {
      tags,
      summary: "Write a document whole; If-Match and If-None-Match as in HTTP; 400 where its reader could not read it",
      params,
      body: z.strictObject({ text: z.string().min(1).max(65_536) }),
      response: { 200: writtenSchema },
    },
    handler: async (request, reply) => {
      const { kind } = request.params;
      const user = names.user(request.params.aor);
      const { text } = request.body;
      checkText(kind, text);
      const written = await documents.put(user, kind, text, precondition(request), request.actor);
      if (written.outcome === "failed") throw changed(written.etag);
      reply.header("etag", `"${written.etag}"`);
      return { etag: written.etag, created: written.created, warnings: warningsOf(kind, text) };
    },
  });

  app.delete("/api/v1/users/:aor/documents/:kind", {
    schema: { tags, summary: "Remove a document", params, response: { 204: z.null() } },
    handler: async (request, reply) => {
      const { kind } = request.params;
      const user = names.user(request.params.aor);
      const gone = await documents.remove(user, kind, precondition(request), request.actor);
      if (gone.outcome === "failed") throw gone.etag === null ? noDocument(user, kind) : changed(gone.etag);
      return reply.status(204).send(null);
    },
  });

  app.get("/api/v1/users/:aor/routing", {
    schema: {
      tags,
      summary: "Which of his servers get a user's messages",
      params: userParams,
      response: { 200: routingAnswer },
    },
    handler: async (request, reply) => {
      const found = await documents.get(names.user(request.params.aor), "im-routing");
      if (found === null) return { algorithm: options.routing(), weights: {}, etag: null };
      reply.header("etag", `"${found.etag}"`);
      const { algorithm, weights } = parseRouting(found.text);
      return { algorithm, weights: { ...weights }, etag: found.etag };
    },
  });

  app.put("/api/v1/users/:aor/routing", {
    schema: {
      tags,
      summary: "Set which of his servers get a user's messages",
      params: userParams,
      body: routingSchema,
      response: { 200: routingAnswer },
    },
    handler: async (request, reply) => {
      const user = names.user(request.params.aor);
      names.servers(Object.keys(request.body.weights), "weights");
      const text = printRouting(request.body);
      const written = await documents.put(user, "im-routing", text, precondition(request), request.actor);
      if (written.outcome === "failed") throw changed(written.etag);
      return withTag(reply, written.etag, request.body);
    },
  });
}

function withTag<T extends object>(reply: FastifyReply, etag: string, body: T): T & { etag: string } {
  reply.header("etag", `"${etag}"`);
  return { ...body, etag };
}

/** Throws a Problem where it cannot be read. */
export function checkText(kind: DocumentKind, text: string): void {
  try {
    USAGES[kind].check(text);
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    throw new Problem(400, "bad-document", error.message, { field: "text" });
  }
}

export function warningsOf(kind: DocumentKind, text: string): string[] {
  if (kind === "im-routing") return [];
  return checkRules(kind, text)
    .filter((each) => each.severity === "warning")
    .map(({ rule, message }) => (rule === "" ? message : `Rule ${rule}: ${message}`));
}

/** RFC 9110 13.1, as the store wants it: its comparison is strong. */
function precondition(request: FastifyRequest): Precondition {
  const match = entityTags(request.headers["if-match"], "If-Match");
  const noneMatch = entityTags(request.headers["if-none-match"], "If-None-Match");
  const strong = (given: EntityTags) =>
    given === "*" ? given : given.filter((each) => !each.weak).map((each) => each.tag);
  return {
    ...(match === null ? {} : { match: strong(match) }),
    ...(noneMatch === null ? {} : { noneMatch: strong(noneMatch) }),
  };
}

export function noDocument(user: string, kind: DocumentKind): Problem {
  return new Problem(404, "no-document", `${user} has no ${kind}.`);
}

function changed(etag: string | null): Problem {
  const now = etag === null ? "there is none" : `its entity tag is "${etag}"`;
  return new Problem(412, "changed-meanwhile", `The document is not the one meant: ${now}.`);
}
