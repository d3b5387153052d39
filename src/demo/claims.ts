import type { Address, Timer } from "../runtime/runtime.ts";
import { buildRequest } from "../sip/message/build.ts";
import type { SipResponse } from "../sip/message/message.ts";
import type { Stack } from "./stack.ts";

const MAX_CLAIMS = 20_000;
const RETRY_S = 5;

interface Claim {
  /** One for all REGISTERs of a user, CSeq rising (RFC 3261 10.2), until he is let go. */
  readonly callId: string;
  cseq: number;
  /** Refreshed for so many seconds each; 0: not refreshed. */
  seconds: number;
  timer: Timer | undefined;
}

/** A server's claims of its users: third-party REGISTERs at the proxy, with itself as contact. */
export class Claims {
  readonly #stack: Stack;
  readonly #domain: string;
  readonly #proxy: () => Address;
  /** A refresh was refused: somebody else has him now. */
  readonly #lost: (user: string) => void;
  readonly #claims = new Map<string, Claim>();

  constructor(stack: Stack, domain: string, proxy: () => Address, lost: (user: string) => void) {
    this.#stack = stack;
    this.#domain = domain;
    this.#proxy = proxy;
    this.#lost = lost;
  }

  /** How many are being refreshed. */
  get kept(): number {
    return [...this.#claims.values()].filter((claim) => claim.seconds > 0).length;
  }

  keeps(user: string): boolean {
    return (this.#claims.get(user)?.seconds ?? 0) > 0;
  }

  /** Whether a Call-ID is that of his registration here; undefined: not said. */
  isCurrent(user: string, callId: string | undefined): boolean {
    const claim = this.#claims.get(user);
    return callId === undefined || claim === undefined || claim.callId === callId;
  }

  /** One REGISTER; 0 seconds ends it (10.2.2). */
  async claim(user: string, seconds: number): Promise<SipResponse | null> {
    return this.#register(user, this.#of(user), seconds);
  }

  /** Claims him, and refreshes halfway until `drop`, `forget` or a refusal. The first answer. */
  async keep(user: string, seconds: number): Promise<SipResponse | null> {
    const claim = this.#of(user);
    claim.seconds = seconds;
    return this.#renew(user, claim);
  }

  /** Deregisters him. */
  async drop(user: string): Promise<SipResponse | null> {
    const claim = this.#of(user);
    this.#rest(claim);
    return this.#register(user, claim, 0);
  }

  /** He was taken away: nothing is said, and his next login is a new registration. */
  forget(user: string): void {
    const claim = this.#claims.get(user);
    if (claim !== undefined) this.#rest(claim);
    this.#claims.delete(user);
  }

  stop(): void {
    for (const claim of this.#claims.values()) this.#rest(claim);
    this.#claims.clear();
  }

  #of(user: string): Claim {
    const known = this.#claims.get(user);
    if (known !== undefined) return known;
    if (this.#claims.size >= MAX_CLAIMS) throw new Error(`an example server claims ${MAX_CLAIMS} users at most`);
    const made: Claim = { callId: this.#stack.runtime.random.token(16), cseq: 0, seconds: 0, timer: undefined };
    this.#claims.set(user, made);
    return made;
  }

  #rest(claim: Claim): void {
    claim.seconds = 0;
    claim.timer?.cancel();
    claim.timer = undefined;
  }

  async #renew(user: string, claim: Claim): Promise<SipResponse | null> {
    claim.timer?.cancel();
    claim.timer = undefined;
    const answer = await this.#register(user, claim, claim.seconds);
    // Meanwhile it was dropped, or another renewal took its place.
    if (claim.seconds === 0 || claim.timer !== undefined || this.#claims.get(user) !== claim) return answer;
    const shortest = Number(answer?.header("Min-Expires"));
    if (answer?.status === 423 && shortest > claim.seconds) claim.seconds = shortest;
    const isRefused = answer !== null && answer.status >= 400 && answer.status < 500 && answer.status !== 423;
    if (isRefused) {
      this.#rest(claim);
      this.#lost(user);
      return answer;
    }
    const wait =
      answer !== null && answer.status < 300
        ? granted(answer, claim.seconds) / 2
        : Number(answer?.header("Retry-After")) || RETRY_S;
    claim.timer = this.#stack.runtime.timers.after(wait * 1000, () => void this.#renew(user, claim));
    return answer;
  }

  #register(user: string, claim: Claim, seconds: number): Promise<SipResponse | null> {
    claim.cseq += 1;
    const address = `<sip:${user}@${this.#domain}>`;
    const request = buildRequest({
      method: "REGISTER",
      uri: `sip:${this.#domain}`,
      headers: [
        ["Max-Forwards", "70"],
        ["From", `${address};tag=${this.#stack.runtime.random.token(10)}`],
        ["To", address],
        ["Call-ID", claim.callId],
        ["CSeq", `${claim.cseq} REGISTER`],
        ["Contact", `<${this.#stack.uri}>`],
        ["Expires", String(seconds)],
      ],
    });
    return this.#stack.ask(request, this.#proxy());
  }
}

/** Seconds, by the Contact of the 2xx (RFC 3261 10.2.4), else its Expires. */
function granted(answer: SipResponse, asked: number): number {
  const { contacts } = answer;
  const said = contacts === "*" ? undefined : contacts[0]?.params.get("expires");
  return Math.min(asked, Number(said ?? answer.expires ?? asked) || asked);
}
