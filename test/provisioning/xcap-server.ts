import { digestResponse, digestSecret, parseDigest } from "../../src/base/digest.ts";
import type { HttpAnswer, HttpRequest } from "../../src/runtime/runtime.ts";
import { answerUser, type Usage } from "../../src/xcap/answer.ts";
import { parseResource } from "../../src/xcap/resource.ts";

const USAGE: Usage = {
  auid: "pres-rules",
  type: "application/auth-policy+xml",
  namespace: "urn:ietf:params:xml:ns:pres-rules",
  understands: [],
  check: () => undefined,
};

/** Another maker's XCAP server: it keeps presence rules for whoever knows its password, by Digest. */
export class XcapServer {
  /** XUI -> document. */
  readonly documents = new Map<string, string>();
  readonly requests: string[] = [];
  /** In place of doing it. */
  refuse: HttpAnswer | null = null;
  /** Runs before a request is answered. */
  before: (() => Promise<void>) | null = null;
  #nonce = 0;
  readonly #nonces = new Set<string>();
  readonly #user: string;
  readonly #password: string;

  constructor(user = "portal", password = "secret") {
    this.#user = user;
    this.#password = password;
  }

  readonly answer = async (request: HttpRequest): Promise<HttpAnswer> => {
    const { method, url, headers } = request;
    const { pathname } = new URL(url);
    const given = parseDigest(headers["authorization"] ?? "");
    const secret = digestSecret("SHA-256", this.#user, "xcap", this.#password);
    const isRight =
      given !== undefined &&
      this.#nonces.has(given.nonce) &&
      given.uri === pathname &&
      given.response === digestResponse(given, method, secret);
    if (!isRight) {
      this.requests.push(`${method} 401`);
      this.#nonces.add(`n${this.#nonce + 1}`);
      const challenge = `Digest realm="xcap", nonce="n${++this.#nonce}", algorithm=SHA-256, qop="auth", opaque="o"`;
      return { status: 401, headers: { "www-authenticate": challenge }, body: new Uint8Array() };
    }
    this.requests.push(`${method} ${pathname}`);
    await this.before?.();
    if (this.refuse !== null) return this.refuse;
    const resource = parseResource(pathname.replace(/^\/root/, ""));
    if (resource === null || (method !== "PUT" && method !== "DELETE"))
      throw new Error(`what is ${method} ${pathname}?`);
    const text = this.documents.get(resource.xui);
    const outcome = answerUser(
      {
        method,
        resource,
        contentType: headers["content-type"] ?? "",
        body: request.body,
        ifMatch: null,
        ifNoneMatch: null,
      },
      USAGE,
      text === undefined ? null : { etag: "t", text },
    );
    if (outcome.done === "answer") {
      return {
        status: outcome.status,
        headers: { "content-type": outcome.type ?? "" },
        body: Buffer.from(outcome.body ?? "", "latin1"),
      };
    }
    if (outcome.text === null) this.documents.delete(resource.xui);
    else this.documents.set(resource.xui, outcome.text);
    return { status: outcome.status, headers: {}, body: new Uint8Array() };
  };

  /** The challenges that were answered are worth nothing any more. */
  forget(): void {
    this.#nonces.clear();
  }
}
