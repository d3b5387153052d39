import { z } from "zod";
import { type ListedMessage, MOST_MESSAGES } from "../directory/messages.ts";
import type { App, Desk } from "./app.ts";
import { Problem } from "./problem.ts";
import { component, iso } from "./schemas.ts";

const tags = ["messages"];

const messageSchema = component(
  "StoredMessage",
  z.object({
    id: z.string(),
    recipient: z.string(),
    sender: z.string(),
    origin: z.string().nullable().describe("server it came from; null: a client"),
    callId: z.string(),
    octets: z.int().describe("of the whole request; what it says is never told"),
    state: z.enum(["stored", "delivered", "failed", "expired"]),
    tries: z.int().describe("that failed"),
    receivedAt: z.string(),
    expiresAt: z.string(),
    endedAt: z.string().nullable().describe("null: it waits"),
  }),
);

const traceSchema = z.object({
  event: z.enum(["received", "stored", "tried", "delivered", "failed"]),
  at: z.string(),
  detail: z.string(),
});

export type MessageJson = z.output<typeof messageSchema>;
export type TraceJson = z.output<typeof traceSchema>;

const address = z.string().min(3).max(600);

/** Messages that wait, or have waited, and what was done with each. Never what they say. */
export function messageRoutes(app: App, { options, names }: Desk): void {
  const { messages } = options.directory;

  app.get("/api/v1/messages", {
    schema: {
      tags,
      summary: "Stored messages, in the order they came; ended ones as long as they are remembered",
      querystring: z.strictObject({
        recipient: address.optional(),
        sender: address.optional(),
        state: z.enum(["stored", "delivered", "failed", "expired"]).optional().describe("stored: those that wait"),
        after: z.coerce.number().int().min(0).optional().describe("`next` of the page before"),
        limit: z.coerce.number().int().min(1).max(MOST_MESSAGES).default(100),
      }),
      response: { 200: z.object({ messages: z.array(messageSchema), next: z.int().nullable() }) },
    },
    handler: async (request) => {
      const { recipient, sender, state, after, limit } = request.query;
      const found = await messages.list({
        ...(recipient === undefined ? {} : { recipient: names.address(recipient, "recipient") }),
        ...(sender === undefined ? {} : { sender: names.address(sender, "sender") }),
        ...(state === undefined ? {} : { state }),
        ...(after === undefined ? {} : { after }),
        limit,
      });
      return { messages: found.map(messageJson), next: found.length < limit ? null : found.at(-1)!.place };
    },
  });

  app.get("/api/v1/messages/count", {
    schema: {
      tags,
      summary: "How much waits",
      response: { 200: z.object({ messages: z.int(), queues: z.int(), octets: z.int() }) },
    },
    handler: () => messages.count(),
  });

  app.get("/api/v1/messages/:id/trace", {
    schema: {
      tags,
      summary: "What was done with one message: received, stored, each try, delivered or failed",
      params: z.object({ id: z.string().min(1).max(200) }),
      response: { 200: z.object({ trace: z.array(traceSchema) }) },
    },
    handler: async (request) => {
      const { id } = request.params;
      const trace = await messages.trace(id);
      if (trace.length === 0) {
        const message = `No message ${JSON.stringify(id.slice(0, 64))} is remembered.`;
        throw new Problem(404, "no-message", message);
      }
      return { trace: trace.map(({ event, at, detail }) => ({ event, at: iso(at), detail })) };
    },
  });
}

function messageJson(each: ListedMessage): z.input<typeof messageSchema> {
  const { id, recipient, sender, origin, callId, octets, state, tries, receivedAt, expiresAt, endedAt } = each;
  return {
    id,
    recipient,
    sender,
    origin,
    callId,
    octets,
    state,
    tries,
    receivedAt: iso(receivedAt),
    expiresAt: iso(expiresAt),
    endedAt: endedAt === null ? null : iso(endedAt),
  };
}
