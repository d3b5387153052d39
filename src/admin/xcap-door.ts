import type { FastifyReply, FastifyRequest } from "fastify";
import { digestSecret, parseDigest, sameText } from "../base/digest.ts";
import type { Credentials } from "../directory/directory.ts";
import { DigestNonces } from "../proxy/digest.ts";
import type { Desk } from "./app.ts";
import type { Failures } from "./failures.ts";
import { type Guard, isLoopback } from "./guard.ts";
import { Problem } from "./problem.ts";

/** Who asks over XCAP: a user for himself, or who holds the admin's token. */
export type Caller = { readonly kind: "admin" } | { readonly kind: "user"; readonly aor: string };

/** Wrong passwords a minute: for one user from one address, and from one address for anybody. */
const MOST_OF_ONE = 10;
const MOST_IN_ALL = 100;

/**
 * Proof of who asks (RFC 4825 8, RFC 7616): Digest with the passwords that SIP clients have, Basic where nobody listens
 * on the way (loopback, and behind a TLS proxy there), the admin's token. Also an API without a token asks for it: what
 * is told of a user here may be let out to his clients.
 */
export class XcapDoor {
  readonly #desk: Desk;
  readonly #guard: Guard;
  readonly #nonces: DigestNonces;
  readonly #failures: Failures;

  constructor(desk: Desk, guard: Guard, failures: Failures) {
    this.#failures = failures;
    this.#desk = desk;
    this.#guard = guard;
    this.#nonces = new DigestNonces(desk.runtime.clock, desk.runtime.random, {
      lifetimeMs: 300_000,
      remembered: 10_000,
    });
  }

  /** Throws a Problem: 401 with challenges, 429 after too many wrong passwords. */
  async enter(request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
    const { authorization } = request.headers;
    if (authorization === undefined) throw this.#challenge(request, reply, false, "Say who you are.");
    if (/^bearer\s/i.test(authorization)) {
      if (this.#guard.holdsToken(authorization, request, reply)) return { kind: "admin" };
      throw this.#challenge(request, reply, false, "The token is not right.");
    }
    return /^basic\s/i.test(authorization)
      ? await this.#basic(authorization, request, reply)
      : await this.#digest(authorization, request, reply);
  }

  async #digest(authorization: string, request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
    const given = parseDigest(authorization);
    if (given === undefined || given.realm !== this.#desk.options.realm() || !isFor(given.uri, request.raw.url ?? "")) {
      throw this.#challenge(request, reply, false, "The answer is to no challenge of this server.");
    }
    const { aor, credentials } = await this.#known(given.username, request, reply);
    this.#refuseGuessing(request, reply, aor ?? given.username);
    const verdict = this.#nonces.verify(given, request.method, credentials);
    if (verdict === "right" && aor !== undefined) return { kind: "user", aor };
    if (verdict === "wrong") this.#failed(request, aor ?? given.username);
    throw this.#challenge(request, reply, verdict === "stale", "User name or password is not right.");
  }

  async #basic(authorization: string, request: FastifyRequest, reply: FastifyReply): Promise<Caller> {
    if (!isOnThisMachine(request)) {
      throw this.#challenge(request, reply, false, "A password is not taken in the clear: use Digest.");
    }
    const text = Buffer.from(authorization.slice(6).trim(), "base64").toString("utf8");
    const colon = text.indexOf(":");
    const username = text.slice(0, Math.max(0, colon));
    const { aor, credentials } = await this.#known(username, request, reply);
    this.#refuseGuessing(request, reply, aor ?? username);
    if (colon > 0 && aor !== undefined && this.#isPassword(aor, text.slice(colon + 1), credentials)) {
      return { kind: "user", aor };
    }
    this.#failed(request, aor ?? username);
    throw this.#challenge(request, reply, false, "User name or password is not right.");
  }

  #isPassword(aor: string, password: string, credentials: Credentials | null): boolean {
    if (credentials === null) return false;
    const at = aor.lastIndexOf("@");
    // As they are made of: `alice` in the default domain, `alice@host` elsewhere.
    const username = aor.slice(at + 1) === this.#desk.options.domains()[0] ? aor.slice(0, at) : aor;
    const algorithm = credentials.sha256 === null ? "MD5" : "SHA-256";
    const secret = algorithm === "MD5" ? credentials.md5 : credentials.sha256;
    return secret !== null && sameText(secret, digestSecret(algorithm, username, credentials.realm, password));
  }

  /** `alice` and `alice@example.com` are both written as user names. Others may be told wrong meanwhile: count again behind it. */
  async #known(
    username: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<{ aor: string | undefined; credentials: Credentials | null }> {
    const { canonicalAor, domains, directory } = this.#desk.options;
    const aor = canonicalAor(username.includes("@") ? username : `${username}@${domains()[0]}`);
    this.#refuseGuessing(request, reply, aor ?? username);
    return { aor, credentials: aor === undefined ? null : await directory.credentials(aor) };
  }

  #challenge(request: FastifyRequest, reply: FastifyReply, stale: boolean, message: string): Problem {
    const realm = this.#desk.options.realm();
    reply.header("www-authenticate", [
      ...this.#nonces.challenges(realm, stale),
      ...(isOnThisMachine(request) ? [`Basic realm="${realm}", charset="UTF-8"`] : []),
    ]);
    return new Problem(401, "unauthenticated", message);
  }

  #refuseGuessing(request: FastifyRequest, reply: FastifyReply, user: string): void {
    for (const [key, most] of keysOf(request, user)) {
      const wait = this.#failures.wait(key, most);
      if (wait === 0) continue;
      reply.header("retry-after", String(wait));
      throw new Problem(429, "too-many-failures", "Too many wrong passwords: wait a minute.");
    }
  }

  #failed(request: FastifyRequest, user: string): void {
    for (const [key] of keysOf(request, user)) this.#failures.add(key);
  }
}

function keysOf(request: FastifyRequest, user: string): readonly (readonly [string, number])[] {
  return [
    [`${request.ip} ${user.slice(0, 600)}`, MOST_OF_ONE],
    [request.ip, MOST_IN_ALL],
  ];
}

/** Nobody can listen on the last hop; on those before it, that is the matter of the proxy there. */
function isOnThisMachine({ socket }: FastifyRequest): boolean {
  return isLoopback((socket.remoteAddress ?? "127.0.0.1").replace(/^::ffff:/i, ""));
}

/** RFC 7616 3.4.6: an answer is for one resource. It may have been asked for with scheme and host. */
function isFor(uri: string, target: string): boolean {
  return uri === target || uri.replace(/^https?:\/\/[^/]*/i, "") === target;
}
