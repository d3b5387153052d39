import { CodomainError } from "../../base/errors.ts";
import type { SipRequest } from "./message.ts";

/**
 * These bytes are no SIP message. `status` is what a request is to be answered with (400, 505, 513); undefined: drop it
 * (responses, noise). `partial` holds what could be read, for the error response: its header accessors may throw.
 */
export class ParseError extends CodomainError {
  readonly status: number | undefined;
  readonly partial: SipRequest | undefined;

  constructor(code: string, message: string, status?: number, partial?: SipRequest) {
    super(code, message);
    this.status = status;
    this.partial = partial;
  }
}

/** A header field is missing where it is mandatory, or its value is against the grammar. `header` is its canonical name. */
export class MalformedHeader extends CodomainError {
  readonly header: string;
  readonly reason: string;

  constructor(header: string, reason: string, options?: ErrorOptions) {
    super("malformed-header", `${header}: ${reason}`, options);
    this.header = header;
    this.reason = reason;
  }
}

/** A text that is no URI (RFC 3261 25.1, RFC 3966 3). */
export class MalformedUri extends CodomainError {
  constructor(message: string) {
    super("malformed-uri", message);
  }
}
