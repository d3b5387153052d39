import { z } from "zod";
import { DirectoryUnavailable } from "../base/errors.ts";
import { STEP_STATES } from "../directory/moves.ts";
import { isHeld } from "../directory/subscriptions.ts";
import type { App, Desk } from "./app.ts";
import { unionedLines, unionedOf, unionedSchema } from "./explain-union.ts";
import type { AdminOptions, ExplainQuestion } from "./ports.ts";
import { aor, serverName } from "./schemas.ts";

/** Rows that are counted of one user; an explanation is asked for by people. */
const MOST = 1000;

const questionSchema = z.strictObject({
  method: z.string().regex(/^[A-Z][A-Z0-9.-]{0,31}$/, "a SIP method in capital letters"),
  aor,
  from: serverName.optional().describe("the server that sends it; left out: a client"),
  watcher: z.string().min(3).max(600).optional().describe("address of the watcher or sender"),
  event: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/, "an event package")
    .optional()
    .describe("default presence, for SUBSCRIBE, NOTIFY and PUBLISH"),
  direction: z
    .enum(["up", "down"])
    .optional()
    .describe("of the listener it comes to; down: a server of a tree sends it to its children. Default up"),
});

const explanationSchema = z.object({
  text: z.array(z.string()).describe("for people, a sentence a line"),
  explanation: z
    .looseObject({
      method: z.string(),
      event: z.string(),
      user: z.string(),
      origin: z.string(),
      model: z.string(),
      modelFrom: z.string(),
      summary: z.string().describe("the plan on one line"),
    })
    .describe("for programs: what was known, and the plan with its reasons"),
  present: z
    .object({
      held: z.int().describe("subscriptions that wait until he is on a server"),
      extended: z.record(z.string(), z.int()).describe("server -> subscriptions extended to it"),
      messages: z.int().describe("stored messages that wait for him"),
      moves: z.array(
        z.object({ batch: z.string(), from: z.string().nullable(), to: z.string(), state: z.enum(STEP_STATES) }),
      ),
      complete: z.boolean().describe(`false: there are over ${MOST} of one of them, counted no further`),
    })
    .nullable()
    .describe(
      "of an exclusive user, what the proxies keep of him now; null: nothing is kept of him, or nothing can be read",
    ),
  unioned: unionedSchema
    .nullable()
    .describe("of a unioned user, what is live now; null: he is of another model, or nothing can be read"),
});

export type ExplanationAnswer = z.output<typeof explanationSchema>;

type Present = NonNullable<z.output<typeof explanationSchema>["present"]>;

/** Null where the database is away: the plan is told all the same. */
async function presentOf(directory: AdminOptions["directory"], aor: string): Promise<Present | null> {
  try {
    const [subscriptions, messages, steps] = await Promise.all([
      directory.subscriptions.list({ kind: "presence", aor, limit: MOST }),
      directory.messages.list({ recipient: aor, state: "stored", limit: MOST }),
      directory.moves.openOf(aor),
    ]);
    const extended: Record<string, number> = {};
    for (const { legServer } of subscriptions)
      if (legServer !== null) extended[legServer] = (extended[legServer] ?? 0) + 1;
    return {
      held: subscriptions.filter(isHeld).length,
      extended,
      messages: messages.length,
      moves: steps.map(({ batch, from, to, state }) => ({ batch, from, to, state })),
      complete: subscriptions.length < MOST && messages.length < MOST,
    };
  } catch (error) {
    if (error instanceof DirectoryUnavailable) return null;
    throw error;
  }
}

function presentLines(present: Present | null): string[] {
  if (present === null) return [];
  const { held, extended, messages, moves, complete } = present;
  const live = Object.entries(extended).map(([server, count]) => `${count} extended to ${server}`);
  const parts = [...(held > 0 ? [`${held} held`] : []), ...live];
  return [
    ...(parts.length > 0 ? [`subscriptions to him now: ${parts.join(", ")}`] : []),
    ...(messages > 0 ? [`stored for him now: ${messages} ${messages === 1 ? "message" : "messages"}`] : []),
    ...moves.map(
      ({ batch, from, to, state }) =>
        `batch ${batch} moves him${from === null ? "" : ` from ${from}`} to ${to}: ${state}`,
    ),
    ...(complete ? [] : [`(counted up to ${MOST})`]),
  ];
}

/** What would be done with a request, by the functions that traffic runs through. Sends nothing. */
export function explainRoutes(app: App, { options, names }: Desk): void {
  async function explain(question: z.output<typeof questionSchema>): Promise<z.input<typeof explanationSchema>> {
    const { method, from, event, direction } = question;
    if (from !== undefined) names.server(from, "from");
    const watcher = question.watcher === undefined ? undefined : names.address(question.watcher, "watcher");
    const asked: ExplainQuestion = {
      method,
      aor: names.user(question.aor),
      ...(from === undefined ? {} : { from }),
      ...(watcher === undefined ? {} : { watcher }),
      ...(event === undefined ? {} : { event }),
      ...(direction === undefined ? {} : { direction }),
    };
    const { text, json } = await options.proxy.explain(asked);
    const present = json.model === "exclusive" ? await presentOf(options.directory, asked.aor) : null;
    const unioned = json.model === "unioned" ? await unionedOf(options, asked.aor, watcher) : null;
    return {
      text: [...text, ...presentLines(present), ...unionedLines(unioned)],
      explanation: { ...json },
      present,
      unioned,
    };
  }

  const tags = ["explain"];
  const summary = "The plan for a request that nobody sent, with its reasons";
  const response = { 200: explanationSchema };
  app.get("/api/v1/explain", {
    schema: { tags, summary, querystring: questionSchema, response },
    handler: (request) => explain(request.query),
  });
  app.post("/api/v1/explain", {
    schema: { tags, summary, body: questionSchema, response },
    handler: (request) => explain(request.body),
  });
}
