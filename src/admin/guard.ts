import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import { CodomainError } from "../base/errors.ts";
import type { Failures } from "./failures.ts";
import type { AdminOptions } from "./ports.ts";
import { Problem } from "./problem.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks, for the audit trail. */
    actor: string;
  }
  interface FastifyContextConfig {
    /** Answered without a token. */
    open?: boolean;
  }
}

/** Different wrong tokens a minute from one address. */
const MOST_WRONG = 30;
const ACTOR = /^[\w.@+-]{1,64}$/;

/**
 * Who may ask. With a token: who has it. Without one: this machine only, and no web page that a browser here was led to
 * (DNS rebinding shows in Host, a foreign page in Origin). X-Actor is taken at its word: it tells apart those who may ask.
 */
export class Guard {
  readonly #token: Buffer | null;
  readonly #host: string;
  readonly #failures: Failures;

  constructor({ host, token }: AdminOptions["listen"], failures: Failures) {
    if (token === null && !isLoopback(host)) {
      throw new CodomainError(
        "admin-open",
        `The admin API on ${host} needs a token: set "admin.token", or listen on 127.0.0.1.`,
      );
    }
    this.#token = token === null ? null : digest(token);
    this.#host = host;
    this.#failures = failures;
  }

  /** Throws a Problem; gives who asks. @param open no token is needed. */
  check(request: FastifyRequest, reply: FastifyReply, open: boolean): string {
    const host = hostOf(request.headers.host ?? "");
    if (this.#token === null && !isLoopback(host) && host !== this.#host) {
      throw new Problem(403, "foreign-host", "Without a token this API answers to the names of this machine only.");
    }
    const { origin } = request.headers;
    if (origin !== undefined && !isSameOrigin(origin, request.headers.host)) {
      throw new Problem(403, "foreign-origin", "Another site's page may not use this API.");
    }
    if (!open && this.#token !== null) this.#checkToken(request, reply);
    const actor = request.headers["x-actor"];
    const base = this.#token === null ? "local" : "token";
    if (actor === undefined) return base;
    if (typeof actor !== "string" || !ACTOR.test(actor)) {
      throw new Problem(400, "bad-actor", "X-Actor is a name of letters, digits and . @ + _ -, up to 64.", {
        field: "X-Actor",
      });
    }
    return `${base}:${actor}`;
  }

  /** Whether it is `Bearer` with the token; false where there is none. Throws a Problem after too many wrong ones. */
  holdsToken(authorization: string, request: FastifyRequest, reply: FastifyReply): boolean {
    const given = bearer(authorization);
    if (given === undefined || this.#token === null) return false;
    const key = `token ${request.ip}`;
    const wait = this.#failures.wait(key, MOST_WRONG);
    if (wait > 0) {
      reply.header("retry-after", String(wait));
      throw new Problem(429, "too-many-failures", "Too many wrong tokens: wait a minute.");
    }
    // Digests are of one length, so that the comparison tells nothing of the token's.
    const hash = digest(given);
    if (timingSafeEqual(hash, this.#token)) return true;
    // A page that asks again and again with one old token guesses once.
    const same = `${key} ${hash.toString("base64")}`;
    if (this.#failures.wait(same, 1) === 0) this.#failures.add(key);
    this.#failures.add(same);
    return false;
  }

  #checkToken(request: FastifyRequest, reply: FastifyReply): void {
    const { authorization = "" } = request.headers;
    if (bearer(authorization) === undefined) {
      throw new Problem(401, "no-token", "Send the token: Authorization: Bearer TOKEN.");
    }
    if (!this.holdsToken(authorization, request, reply)) {
      throw new Problem(401, "wrong-token", "The token is not right.");
    }
  }
}

function bearer(authorization: string): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The host of a Host header, lower case, without port and brackets. */
function hostOf(header: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(header.toLowerCase());
  return match?.[1] ?? match?.[2] ?? "";
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === host.toLowerCase().replace(/:80$/, "");
}
