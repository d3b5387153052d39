import { describe, expect, it } from "vitest";
import { buildResponse } from "../../../src/sip/message/build.ts";
import { SipRequest, SipResponse } from "../../../src/sip/message/message.ts";
import type { ClientTransaction, ServerTransaction } from "../../../src/sip/transaction/transaction.ts";
import { fc } from "../../support/fast-check.ts";
import { answer, Harness, request } from "./harness.ts";

const METHODS = ["INVITE", "MESSAGE", "SUBSCRIBE"] as const;
const STATUSES = [100, 180, 183, 200, 202, 302, 404, 408, 486, 503, 600];

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ act: fc.constant("request" as const), a: fc.nat(5), b: fc.nat(2) }) },
  {
    weight: 3,
    arbitrary: fc.record({ act: fc.constant("respond" as const), a: fc.nat(30), b: fc.nat(STATUSES.length - 1) }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant("send" as const), a: fc.nat(2), b: fc.nat(1) }) },
  {
    weight: 3,
    arbitrary: fc.record({ act: fc.constant("answer" as const), a: fc.nat(30), b: fc.nat(STATUSES.length - 1) }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom("ack", "cancelIn"), a: fc.nat(5), b: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom("cancel", "abandon"), a: fc.nat(30), b: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom("fail", "close"), a: fc.nat(1), b: fc.nat(1) }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant("wait" as const), a: fc.nat(9000), b: fc.nat(1) }) },
);

/** What left towards each transaction of a peer: finals by branch and CSeq method. */
function finalsToPeers(h: Harness): Map<string, Set<string>> {
  const finals = new Map<string, Set<string>>();
  for (const { message, raw } of h.sent) {
    if (!(message instanceof SipResponse) || message.status < 200) continue;
    const key = `${message.via.branch} ${message.cseq.method}`;
    finals.set(key, (finals.get(key) ?? new Set()).add(raw));
  }
  return finals;
}

describe.each(["udp", "tcp"] as const)("the layer over %s, whatever comes in whatever order", (transport) => {
  it("tells each TU at most one end, sends one final to a non-INVITE, never 408 to it, and returns to zero", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 70 }), (steps) => {
        const h = new Harness(transport);
        const ends = new Map<ClientTransaction, string[]>();
        const clients: ClientTransaction[] = [];
        const end = (transaction: ClientTransaction, how: string) =>
          ends.set(transaction, [...(ends.get(transaction) ?? []), how]);
        const user = {
          onResponse: (response: SipResponse, transaction: ClientTransaction) => {
            if (response.status >= 200) end(transaction, String(response.status));
          },
          onTimeout: (transaction: ClientTransaction) => end(transaction, "timeout"),
          onTransportError: (_: Error, transaction: ClientTransaction) => end(transaction, "error"),
        };
        const give = (transaction: ServerTransaction, status: number) =>
          transaction.respond(buildResponse(transaction.request, status, undefined, { toTag: "t" }));
        const pick = <T>(list: readonly T[], n: number): T | undefined => list[n % Math.max(1, list.length)];
        // Branches are given anew after a while, as honest peers would.
        let age = 0;
        const branch = (n: number) => `z9hG4bK${n}.${Math.floor(age / 40_000)}`;
        for (const { act, a, b } of steps) {
          const server = pick(h.requests, a);
          const client = pick(clients, a);
          if (act === "request") h.receive(request(METHODS[b]!, { branch: branch(a) }));
          else if (act === "ack") h.receive(request("ACK", { branch: branch(a), toTag: "t" }));
          else if (act === "cancelIn") h.receive(request("CANCEL", { branch: branch(a) }));
          else if (act === "respond" && server !== undefined) give(server, STATUSES[b]!);
          else if (act === "send") {
            const bare = request(METHODS[a]!, { branch: "z9hG4bKup" });
            h.receive(bare.replace("z9hG4bKup", `z9hG4bKs${clients.length}`));
            clients.push(h.layer.send(h.requests.at(-1)!.request, h.flow, user, b === 0 ? {} : { timeoutMs: 8000 }));
          } else if (act === "answer" && client !== undefined) h.receive(answer(client.request, STATUSES[b]!));
          else if (act === "cancel") client?.cancel();
          else if (act === "abandon") client?.abandon();
          else if (act === "fail") h.flow.failing = a === 0 ? new Error("unreachable") : null;
          else if (act === "close") h.flow.close(new Error("closed"));
          else if (act === "wait") {
            h.time.advance(a);
            age += a;
          }
        }
        // What has no timer by the standard, an INVITE in proceeding, is ended by its TU.
        for (const transaction of h.requests) give(transaction, 500);
        for (const transaction of clients) transaction.abandon();
        h.time.advance(80_000);
        h.expectNothingLeft();

        for (const [transaction, how] of ends) {
          if (transaction.request.method !== "INVITE") expect(how.length).toBe(1);
          else expect(how.filter((each) => !each.startsWith("2")).length).toBeLessThanOrEqual(1);
        }
        for (const [key, finals] of finalsToPeers(h)) {
          // Over TCP nobody retransmits: the same request again is a new one there (Timer J zero).
          if (transport === "udp" && !key.endsWith(" INVITE")) expect(finals.size).toBe(1);
          for (const raw of finals) expect(key.endsWith(" INVITE") || !raw.startsWith("SIP/2.0 408")).toBe(true);
        }
        for (const { message } of h.sent) {
          if (message instanceof SipRequest) expect(message.vias.length).toBeGreaterThan(0);
        }
      }),
      { numRuns: 300 },
    );
  });
});
