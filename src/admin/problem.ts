import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import { CodomainError, DirectoryUnavailable } from "../base/errors.ts";
import type { Binding } from "../directory/directory.ts";
import { bindingJson } from "./schemas.ts";

export interface ProblemOptions {
  /** What of the input is wrong. */
  readonly field?: string;
  /** Who holds the user instead. */
  readonly holder?: Binding | null;
}

/** A request that is not done, and why: what becomes `{ error: { code, message, field? } }`. */
export class Problem extends CodomainError {
  readonly status: number;
  readonly field: string | undefined;
  readonly holder: Binding | null | undefined;

  constructor(status: number, code: string, message: string, { field, holder }: ProblemOptions = {}) {
    super(code, message);
    this.status = status;
    this.field = field;
    this.holder = holder;
  }
}

/** The first fault of an input, in words; `field` as `identities.east`. @param whole what the input is called. */
export function invalid(error: z.ZodError, whole = "The body"): Problem {
  const issue = error.issues[0];
  if (issue === undefined) return new Problem(400, "invalid", `${whole} is not valid.`);
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") path.push(issue.keys[0]!);
  const field = path.join(".");
  const what = field === "" ? whole : `"${field}"`;
  return new Problem(400, "invalid", `${what} ${fault(issue)}.`, field === "" ? {} : { field });
}

function fault(issue: z.core.$ZodIssue): string {
  const message = issue.message.replace(/^Invalid input: /, "");
  switch (issue.code) {
    case "unrecognized_keys":
      return "is not known here";
    case "invalid_value":
      return `must be one of: ${issue.values.map(String).join(", ")}`;
    case "invalid_type":
      return /received (undefined|null)$/.test(message) ? "is missing" : `is not valid: ${message}`;
    case "too_small":
      if (issue.origin === "string")
        return issue.minimum === 1 ? "is empty" : `has less than ${issue.minimum} characters`;
      return `must be at least ${issue.minimum}`;
    case "too_big":
      if (issue.origin === "string") return `has more than ${issue.maximum} characters`;
      if (issue.origin === "array") return `has more than ${issue.maximum} entries`;
      return `must be at most ${issue.maximum}`;
    case "invalid_format":
      return `must be ${message}`;
    case "invalid_key":
    case "invalid_element":
      return "has a name that is not valid";
    default:
      return `is not valid: ${message}`;
  }
}

/** Codes of Fastify's own refusals that a caller can do something about. */
const REFUSALS: Readonly<Record<string, readonly [code: string, message: string]>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: ["bad-json", "The body is no JSON document."],
  FST_ERR_CTP_EMPTY_JSON_BODY: ["bad-json", "The body is empty: send a JSON document, or no Content-Type."],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ["bad-media-type", "Send the body as application/json."],
  FST_ERR_CTP_BODY_TOO_LARGE: ["too-large", "The body is too large: send less at once."],
};

/** Every failure in one shape. @param warn hears of those that are nobody's input. */
export function problemHandler(warn: (what: string, detail: string) => void) {
  return (error: FastifyError | CodomainError, _request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    if (error instanceof Problem) return send(reply, error);
    if (error instanceof DirectoryUnavailable) {
      reply.header("retry-after", "5");
      return send(
        reply,
        new Problem(
          503,
          "directory-unavailable",
          "The database does not answer: nothing was changed, try again later.",
        ),
      );
    }
    const { code, statusCode } = error as FastifyError;
    const refusal = REFUSALS[code];
    if (refusal !== undefined) return send(reply, new Problem(statusCode ?? 400, ...refusal));
    if (statusCode !== undefined && statusCode < 500)
      return send(reply, new Problem(statusCode, "bad-request", `${error.message.replace(/\.$/, "")}.`));
    warn("The admin API failed", error.stack ?? error.message);
    return send(reply, new Problem(500, "internal", "The request failed inside; the log says more."));
  };
}

function send(reply: FastifyReply, problem: Problem): FastifyReply {
  const { code, message, field, holder } = problem;
  return reply.status(problem.status).send({
    error: { code, message, ...(field === undefined ? {} : { field }) },
    ...(holder === undefined ? {} : { binding: holder === null ? null : bindingJson(holder) }),
  });
}
