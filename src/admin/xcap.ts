import type { FastifyReply, FastifyRequest } from "fastify";
import { MOST_TEXT, type UserDocuments } from "../directory/user-documents.ts";
import { answerGlobal, answerUser, type Usage, type XcapAnswer, type XcapRequest } from "../xcap/answer.ts";
import { parseResource, type XcapResource } from "../xcap/resource.ts";
import type { App, Desk } from "./app.ts";
import { USAGES, usageOf } from "./document-usages.ts";
import { entityTags } from "./entity-tags.ts";
import type { Failures } from "./failures.ts";
import type { Guard } from "./guard.ts";
import { Problem } from "./problem.ts";
import { type Caller, XcapDoor } from "./xcap-door.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks over XCAP; null: any other route. */
    xcapCaller: Caller | null;
  }
}

const ROOT = "/xcap";
/** Others who write the same document at once; each of them got on. */
const MOST_TRIES = 8;

/** The XCAP server (RFC 4825): users' documents as HTTP resources, down to elements and attributes. */
export function xcapRoutes(app: App, desk: Desk, guard: Guard, failures: Failures): void {
  const door = new XcapDoor(desk, guard, failures);
  app.decorateRequest("xcapCaller", null);
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: MOST_TEXT }, (_request, body, done) => {
      done(null, body);
    });
    scope.route({
      method: ["GET", "PUT", "DELETE", "POST", "PATCH"],
      url: `${ROOT}/*`,
      config: { open: true },
      schema: { hide: true },
      onRequest: async (request, reply) => {
        reply.header("cache-control", "private, no-cache");
        request.xcapCaller = await door.enter(request, reply);
      },
      handler: (request, reply) => serve(desk, request, reply),
    });
  });
}

async function serve(desk: Desk, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const caller = request.xcapCaller!;
  const method = request.method === "HEAD" ? "GET" : request.method;
  const resource = parseResource((request.raw.url ?? "").slice(ROOT.length));
  if (resource === null) throw nothing();
  if (resource.tree === "global") {
    const answer = answerGlobal(resource, Object.values(USAGES), method);
    if (answer === null) throw nothing();
    return send(reply, answer);
  }
  const found = usageOf(resource.auid);
  if (found === undefined) throw nothing();
  const aor = desk.options.canonicalAor(resource.xui);
  if (caller.kind === "user" && aor !== caller.aor) {
    throw new Problem(403, "not-yours", "A user reads and writes his own documents.");
  }
  if (aor === undefined || !desk.options.domains().includes(aor.slice(aor.lastIndexOf("@") + 1))) throw nothing();
  if (method !== "GET" && method !== "PUT" && method !== "DELETE") {
    return send(reply, { status: 405, allow: "GET, HEAD, PUT, DELETE" });
  }
  const actor = caller.kind === "user" ? caller.aor : request.actor;
  const asked = askedOf(request, method, resource);
  return change(reply, desk.options.directory.documents, asked, { ...found, aor, actor }, request.raw.url!);
}

/** What is written is written on the document that was read; where another came first, all is judged again. */
async function change(
  reply: FastifyReply,
  store: UserDocuments,
  asked: XcapRequest,
  { aor, kind, usage, actor }: { aor: string; kind: keyof typeof USAGES; usage: Usage; actor: string },
  location: string,
): Promise<FastifyReply> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const stored = await store.get(aor, kind);
    const outcome = answerUser(asked, usage, stored);
    if (outcome.done === "answer") return send(reply, outcome);
    const when = stored === null ? ({ noneMatch: "*" } as const) : { match: [stored.etag] };
    if (outcome.text === null) {
      const { outcome: removed } = await store.remove(aor, kind, when, actor);
      if (removed === "written") return send(reply, { status: 200 });
      continue;
    }
    const written = await store.put(aor, kind, outcome.text, when, actor);
    if (written.outcome === "failed") continue;
    if (outcome.status === 201) reply.header("location", location);
    return send(reply, { status: outcome.status, etag: written.etag });
  }
  reply.header("retry-after", "1");
  throw new Problem(503, "busy", "Others write this document all the time: try again.");
}

function askedOf(request: FastifyRequest, method: XcapRequest["method"], resource: XcapResource): XcapRequest {
  const { headers, body } = request;
  return {
    method,
    resource,
    contentType: (headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase(),
    body: body instanceof Uint8Array ? body : new Uint8Array(),
    ifMatch: entityTags(headers["if-match"], "If-Match"),
    ifNoneMatch: entityTags(headers["if-none-match"], "If-None-Match"),
  };
}

function send(reply: FastifyReply, { status, type, body, allow, etag }: XcapAnswer): FastifyReply {
  if (allow !== undefined) reply.header("allow", allow);
  if (etag !== undefined) reply.header("etag", `"${etag}"`);
  if (type !== undefined) reply.header("content-type", type);
  reply.status(status);
  return body === undefined ? reply.send() : reply.send(Buffer.from(body, "latin1"));
}

function nothing(): Problem {
  return new Problem(404, "not-found", "There is no such document.");
}
