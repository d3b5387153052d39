import { field, type WireMessage } from "./wire.ts";

/** One NOTIFY as a watcher sees it. */
export interface Seen {
  readonly cseq: number;
  /** Subscription-State without what counts down: `active`, `terminated;reason=timeout`. */
  readonly state: string;
  /** `open by east`: the basic status of its document's first tuple and that tuple's id; `-`: no document. */
  readonly document: string;
}

/** The NOTIFYs of one dialog in the order they came, without retransmissions. */
export function seenBy(heard: readonly WireMessage[], callId: string): readonly Seen[] {
  const seen: Seen[] = [];
  const cseqs = new Set<number>();
  for (const { method, status, text } of heard) {
    if (method !== "NOTIFY" || status !== 0 || field(text, "Call-ID") !== callId) continue;
    const cseq = Number.parseInt(field(text, "CSeq") ?? "", 10);
    if (cseqs.has(cseq)) continue;
    cseqs.add(cseq);
    seen.push({ cseq, ...shown(field(text, "Subscription-State") ?? "", text.split("\r\n\r\n")[1] ?? "") });
  }
  return seen;
}

export function shown(state: string, body: string): Pick<Seen, "state" | "document"> {
  const tuple = /<(?:\w+:)?tuple [^>]*\bid="([^"]*)"/.exec(body)?.[1];
  const basic = /<(?:\w+:)?basic>\s*(\w+)/.exec(body)?.[1];
  return {
    state: state.replace(/;\s*(expires|retry-after)=\d+/g, ""),
    document: tuple === undefined ? "-" : `${basic} by ${tuple}`,
  };
}

/** In the words of a log: `active open by east`. */
export function story(seen: readonly Seen[]): readonly string[] {
  return seen.map((each) => `${each.state} ${each.document}`);
}
