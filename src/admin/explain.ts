import { z } from "zod";
import type { App, Desk } from "./app.ts";
import type { ExplainQuestion } from "./ports.ts";
import { aor, serverName } from "./schemas.ts";

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
});

export type ExplanationAnswer = z.output<typeof explanationSchema>;

/** What would be done with a request, by the functions that traffic runs through. Sends nothing. */
export function explainRoutes(app: App, { options, names }: Desk): void {
  async function explain(question: z.output<typeof questionSchema>): Promise<z.input<typeof explanationSchema>> {
    const { method, from, watcher, event } = question;
    if (from !== undefined) names.server(from, "from");
    const asked: ExplainQuestion = {
      method,
      aor: names.user(question.aor),
      ...(from === undefined ? {} : { from }),
      ...(watcher === undefined ? {} : { watcher: names.address(watcher, "watcher") }),
      ...(event === undefined ? {} : { event }),
    };
    const { text, json } = await options.proxy.explain(asked);
    return { text: [...text], explanation: { ...json } };
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
