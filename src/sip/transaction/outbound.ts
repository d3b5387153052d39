import type { Editor } from "../message/edit.ts";
import type { SipRequest, SipResponse } from "../message/message.ts";
import type { SipUri } from "../message/uri.ts";
import type { Flow } from "../transport/transport.ts";

/**
 * Requests of our own, as a user agent client sends them (RFC 3261 8.1): the port. Dialogs, stored messages and
 * third-party registrations go out through it; the proxy layer, which knows nodes and names, is behind it.
 */
export interface Outbound {
  /** To a server of the domain: its nodes in rotation, the next one where one cannot be reached (RFC 3263 4.3). */
  toServer(server: string, build: BuildRequest, options?: OutboundOptions): Promise<Reply>;
  /** False: none of its nodes is reached over TLS, so that what is `secure` cannot be sent there, now or later. */
  hasTls(server: string): Promise<boolean>;
  /**
   * To where the first Route or the remote target leads (RFC 3261 12.2.1.1).
   * @param connectionId of a connection that alone leads to the peer (RFC 5626); 0: none does.
   */
  toUri(uri: SipUri, connectionId: number, build: BuildRequest, options?: OutboundOptions): Promise<Reply>;
}

/** Called once a flow is known, since Contact names the listen point it leaves from; once more for each further node. */
export type BuildRequest = (flow: Flow) => SipRequest | Editor<SipRequest>;

export interface OutboundOptions {
  /** Give up after this many milliseconds; at most, and by default, 64*T1 (Timer F). */
  readonly timeoutMs?: number;
  /** Octets of the request, roughly, where it may be large: decides on UDP or TCP (RFC 3261 18.1.1). Default 1000. */
  readonly size?: number;
  /** Over TLS only (RFC 3261 26.2.2: what is asked for by a SIPS URI). */
  readonly secure?: boolean;
  /** A response that comes after the promise was resolved, by a timeout shorter than Timer F. */
  readonly late?: (response: SipResponse) => void;
}

/** A final response; or nobody answered in time (to be treated as 408); or there was no way to send it (as 503, RFC 3261 8.1.3.1). */
export type Reply = SipResponse | "timeout" | "unreachable";
