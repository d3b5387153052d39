import { userInfo } from "node:os";
import type { Command } from "commander";
import type { ProblemJson } from "../admin/schemas.ts";
import { CodomainError, UsageError } from "../base/errors.ts";
import { createRealRuntime } from "../runtime/real.ts";
import type { Io } from "./output.ts";

const DEFAULT_URL = "http://127.0.0.1:8060";
const TIMEOUT_MS = 60_000;

export type Query = Readonly<Record<string, string | undefined>>;

/** The admin API of a running proxy. Throws a UsageError for what it calls wrong input, a CodomainError for every other failure. */
export interface AdminClient {
  get<T>(path: string, query?: Query): Promise<T>;
  post<T>(path: string, body?: unknown): Promise<T>;
  put<T>(path: string, body: unknown): Promise<T>;
  delete(path: string): Promise<void>;
}

/** By `--admin` and `--token`, else by the environment. */
export function adminClient(command: Command, io: Io): AdminClient {
  const options = command.optsWithGlobals<{ admin?: string; token?: string }>();
  const base = baseUrl(options.admin ?? io.env["CODOMAIN_ADMIN"] ?? DEFAULT_URL);
  const token = options.token ?? io.env["CODOMAIN_TOKEN"];
  const actor = whoami();
  const { timers } = createRealRuntime();
  const headers: Readonly<Record<string, string>> = {
    ...(token === undefined || token === "" ? {} : { authorization: `Bearer ${token}` }),
    ...(actor === undefined ? {} : { "x-actor": actor }),
  };

  async function call(method: string, path: string, body?: unknown): Promise<unknown> {
    let response: Response;
    let text: string;
    const limit = new AbortController();
    const late = timers.after(TIMEOUT_MS, () => limit.abort());
    try {
      response = await fetch(base + path, {
        method,
        headers: body === undefined ? headers : { ...headers, "content-type": "application/json" },
        signal: limit.signal,
        redirect: "error",
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch (error) {
      throw unreachable(base, error);
    } finally {
      late.cancel();
    }
    const answer = parse(text);
    if (!response.ok) throw failure(base, response.status, answer);
    if (answer === undefined && response.status !== 204) throw stranger(base);
    return answer;
  }

  return {
    get: async <T>(path: string, query: Query = {}) => (await call("GET", path + queryString(query))) as T,
    post: async <T>(path: string, body?: unknown) => (await call("POST", path, body)) as T,
    put: async <T>(path: string, body: unknown) => (await call("PUT", path, body)) as T,
    delete: async (path) => void (await call("DELETE", path)),
  };
}

/** The path of one user. */
export function userPath(aor: string, verb = ""): string {
  return `/api/v1/users/${encodeURIComponent(aor)}${verb === "" ? "" : `/${verb}`}`;
}

function baseUrl(text: string): string {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new UsageError(`"${text}" is no URL of an admin API: write it as ${DEFAULT_URL}.`);
  }
  return text.replace(/\/+$/, "");
}

/** Who uses the command, for the audit trail. */
function whoami(): string | undefined {
  try {
    const name = userInfo()
      .username.replaceAll(/[^\w.@+-]/g, "_")
      .slice(0, 64);
    return name === "" ? undefined : name;
  } catch {
    return undefined;
  }
}

function queryString(query: Query): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreachable(base: string, error: unknown): CodomainError {
  const cause = error instanceof Error ? (error.cause as { code?: string } | undefined) : undefined;
  if (error instanceof Error && error.name === "AbortError") {
    return new CodomainError("admin-timeout", `The admin API at ${base} did not answer within a minute: try again.`);
  }
  if (cause?.code === "ECONNREFUSED" || cause?.code === "ENOTFOUND") {
    return new CodomainError(
      "admin-unreachable",
      `No proxy answers at ${base}: start one with \`npx codomain start\`, or name another with --admin URL.`,
      { cause: error },
    );
  }
  return new CodomainError("admin-unreachable", `The admin API at ${base} cannot be reached (${reason(error)}).`, {
    cause: error,
  });
}

function reason(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error ? ((inner as NodeJS.ErrnoException).code ?? inner.message) : String(inner);
}

function stranger(base: string): CodomainError {
  return new CodomainError("admin-stranger", `What answers at ${base} is no codomain admin API: check --admin URL.`);
}

function failure(base: string, status: number, answer: unknown): CodomainError {
  const problem = (answer as Partial<ProblemJson> | undefined)?.error;
  if (problem === undefined || typeof problem.message !== "string") return stranger(base);
  if (status === 401) {
    const wrong = problem.code === "wrong-token" ? "The token is not the one of" : "A token is needed for";
    return new CodomainError(problem.code, `${wrong} ${base}: give it as CODOMAIN_TOKEN or with --token.`);
  }
  return status === 400 ? new UsageError(problem.message) : new CodomainError(problem.code, problem.message);
}
