import { describe, expect, it } from "vitest";
import { buildResponse } from "../../../src/sip/message/build.ts";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import type { ServerTransaction } from "../../../src/sip/transaction/transaction.ts";
import { Harness, request } from "./harness.ts";

const give = (transaction: ServerTransaction | undefined, status: number, toTag = "ours") =>
  transaction!.respond(buildResponse(transaction!.request, status, undefined, { toTag }));

const ackFor = (h: Harness, branch = "z9hG4bKpeer1") =>
  request("ACK", { branch, toTag: h.last().message.to.tag ?? "" });

describe("non-INVITE server transaction, driven", () => {
  it("is given to the TU once, whatever comes again before the answer", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    h.receive(request("MESSAGE"));
    expect(h.requests.length).toBe(1);
    expect(h.sent).toEqual([]);
    expect(h.requests[0]!.receivedAt).toBe(1000);
  });

  it("answers a retransmitted request with the same bytes until Timer J, without a live transaction", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    give(h.requests[0], 202);
    expect(h.layer.counts()).toMatchObject({ server: 0, completed: 1 });
    h.time.advance(31_990);
    h.receive(request("MESSAGE"));
    expect(h.left).toEqual(["202", "202"]);
    expect(h.sent[1]!.raw).toBe(h.sent[0]!.raw);
    expect(h.requests.length).toBe(1);
    h.time.advance(1000);
    h.expectNothingLeft();
    h.receive(request("MESSAGE"));
    expect(h.requests.length).toBe(2);
  });

  it("keeps nothing after the final response over a reliable transport (Timer J zero)", () => {
    const h = new Harness("tcp");
    h.receive(request("MESSAGE"));
    give(h.requests[0], 200);
    h.expectNothingLeft();
  });

  it("discards any further final response", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    give(h.requests[0], 200);
    give(h.requests[0], 404);
    h.receive(request("MESSAGE"));
    expect(h.left).toEqual(["200", "200"]);
    expect(h.requests[0]!.completed).toBe(true);
  });

  it("MUST NOT send 100 over UDP before 3.5 s, and MUST send one then if nobody has answered (RFC 4320 4.1)", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    give(h.requests[0], 100);
    h.time.advance(3490);
    expect(h.sent).toEqual([]);
    h.time.advance(10);
    expect(h.times("SIP/2.0 100")).toEqual([3500]);
    expect(h.last().message.to.tag).toBeUndefined();
    h.receive(request("MESSAGE"));
    expect(h.left).toEqual(["100", "100"]);
    give(h.requests[0], 200);
    h.receive(request("MESSAGE"));
    expect(h.left).toEqual(["100", "100", "200", "200"]);
  });

  it("MAY send 100 over TCP at any time, and MUST after 3.5 s", () => {
    const h = new Harness("tcp");
    h.receive(request("MESSAGE"));
    give(h.requests[0], 100);
    expect(h.left).toEqual(["100"]);
    h.receive(request("MESSAGE", { branch: "z9hG4bKother" }));
    h.time.advance(3500);
    expect(h.left).toEqual(["100", "100"]);
  });

  it("MUST NOT send another provisional response (RFC 4320 4.1)", () => {
    const h = new Harness("tcp");
    h.receive(request("MESSAGE"));
    give(h.requests[0], 183);
    h.time.advance(4000);
    give(h.requests[0], 180);
    expect(h.left).toEqual(["100"]);
  });

  it("MUST NOT send 408 (RFC 4320 4.2): the client is left to its Timer F, and its retransmissions are absorbed", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    h.time.advance(2000);
    give(h.requests[0], 408);
    expect(h.requests[0]!.completed).toBe(true);
    h.time.advance(30_000);
    h.receive(request("MESSAGE"));
    expect(h.sent).toEqual([]);
    expect(h.requests.length).toBe(1);
    expect(h.layer.counts()).toMatchObject({ server: 0, completed: 1 });
    h.time.advance(5000);
    h.expectNothingLeft();
  });

  it("sends no final response once the client's Timer F has run out, and absorbs what is late (RFC 4320 4.2)", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    h.time.advance(32_000);
    give(h.requests[0], 200);
    h.receive(request("MESSAGE"));
    expect(h.left).toEqual(["100"]);
    expect(h.requests.length).toBe(1);
    h.time.advance(5000);
    h.expectNothingLeft();
  });

  it("remains when its response cannot be delivered (RFC 6026 8.8): a retransmission is answered", () => {
    const h = new Harness();
    h.respondFailing = new Error("unreachable");
    h.receive(request("MESSAGE"));
    give(h.requests[0], 200);
    h.time.advance(100);
    h.respondFailing = null;
    h.receive(request("MESSAGE"));
    expect(h.left).toEqual(["200"]);
    expect(h.requests.length).toBe(1);
  });
});

describe("INVITE server transaction, driven", () => {
  it("generates a 100 without a To tag within 200 ms if the TU has not answered", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    h.time.advance(200);
    expect(h.left).toEqual(["100"]);
    expect(h.last().message.to.tag).toBeUndefined();
    h.time.advance(60_000);
    expect(h.left).toEqual(["100"]);
  });

  it("generates none if the TU has answered", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 180);
    h.time.advance(1000);
    expect(h.left).toEqual(["180"]);
  });

  it("answers a retransmission with the last provisional response, and at once with 100 where there is none", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    h.time.advance(50);
    h.receive(request("INVITE"));
    expect(h.left).toEqual(["100"]);
    give(h.requests[0], 180);
    give(h.requests[0], 183);
    h.receive(request("INVITE"));
    expect(h.left).toEqual(["100", "180", "183", "183"]);
    expect(h.requests.length).toBe(1);
  });

  it("retransmits a non-2xx after 500 ms, 1 s, 2 s, 4 s, 4 s ... until Timer H, and reports that no ACK came", () => {
    const h = new Harness();
    const errors = h.count("transportError");
    h.receive(request("INVITE"));
    give(h.requests[0], 486);
    h.time.advance(31_990);
    expect(h.times("SIP/2.0 486")).toEqual([0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    expect(errors()).toBe(0);
    h.time.advance(10);
    expect(errors()).toBe(1);
    h.expectNothingLeft();
  });

  it("stops at the ACK, absorbs further ACKs for the 5 s of Timer I, and ends", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 486);
    h.time.advance(600);
    h.receive(ackFor(h));
    h.receive(ackFor(h));
    h.receive(request("INVITE"));
    h.time.advance(4990);
    expect(h.left).toEqual(["486", "486"]);
    expect(h.acks).toEqual([]);
    expect(h.layer.counts()).toMatchObject({ server: 0, completed: 1 });
    h.time.advance(10);
    h.expectNothingLeft();
  });

  it("lives through a lost ACK: the retransmitted INVITE and Timer G bring the response again", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 404);
    h.receive(request("INVITE"));
    h.time.advance(500);
    expect(h.left).toEqual(["404", "404", "404"]);
    h.receive(ackFor(h));
    h.time.advance(5000);
    expect(h.left.length).toBe(3);
    h.expectNothingLeft();
  });

  it("sends a non-2xx once over a reliable transport and ends with the ACK (Timer I zero)", () => {
    const h = new Harness("tcp");
    h.receive(request("INVITE"));
    give(h.requests[0], 404);
    h.time.advance(10_000);
    expect(h.left).toEqual(["404"]);
    expect(h.layer.counts().completed).toBe(1);
    h.receive(ackFor(h));
    h.expectNothingLeft();
  });

  it("absorbs an INVITE retransmitted after a 2xx, sends no 2xx by itself, and every 2xx of the TU (RFC 6026 7.1)", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 200, "fork1");
    h.receive(request("INVITE"));
    h.time.advance(5000);
    give(h.requests[0], 200, "fork2");
    give(h.requests[0], 486, "fork3");
    give(h.requests[0], 180, "fork3");
    expect(h.sent.map(({ message }) => message.to.tag)).toEqual(["fork1", "fork2"]);
    expect(h.requests.length).toBe(1);
    h.time.advance(26_990);
    h.receive(request("INVITE"));
    expect(h.requests.length).toBe(1);
    h.time.advance(10);
    h.expectNothingLeft();
  });

  it("passes an ACK for a 2xx to the TU, with its own branch and with the INVITE's", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 200);
    h.receive(request("ACK", { branch: "z9hG4bKnew", toTag: "ours" }));
    h.receive(request("ACK", { toTag: "ours" }));
    expect(h.acks.map((ack) => ack.via.branch)).toEqual(["z9hG4bKnew", "z9hG4bKpeer1"]);
  });

  it("remains when a response cannot be delivered: no retransmission is a new request (RFC 6026 7.1)", () => {
    const h = new Harness();
    h.respondFailing = new Error("unreachable");
    h.receive(request("INVITE"));
    h.time.advance(200);
    give(h.requests[0], 200);
    h.time.advance(200);
    h.receive(request("INVITE"));
    expect(h.requests.length).toBe(1);
  });

  it("absorbs an ACK before there is anything to acknowledge", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    h.receive(request("ACK"));
    expect(h.acks).toEqual([]);
    give(h.requests[0], 486);
    h.time.advance(500);
    expect(h.left).toEqual(["486", "486"]);
  });
});

describe("CANCEL from the network (RFC 3261 9.2)", () => {
  it("is answered 200 here, with the To tag of the INVITE's responses, and told to the TU once", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 180, "same");
    h.receive(request("CANCEL"));
    h.receive(request("CANCEL"));
    expect(h.left).toEqual(["180", "200", "200"]);
    expect(h.last().message.cseq.method).toBe("CANCEL");
    expect(h.last().message.to.tag).toBe("same");
    expect(h.cancelled).toEqual([h.requests[0]]);
    expect(h.requests.length).toBe(1);
  });

  it("gets 481 where it matches nothing", () => {
    const h = new Harness();
    h.receive(request("CANCEL"));
    h.receive(request("CANCEL"));
    expect(h.left).toEqual(["481", "481"]);
    expect(h.last().message.to.tag).toBeDefined();
    expect(h.cancelled).toEqual([]);
    expect(h.requests).toEqual([]);
    h.time.advance(33_000);
    h.expectNothingLeft();
  });

  it("has no effect once the INVITE has its final response, and is still answered 200", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    give(h.requests[0], 200);
    h.receive(request("CANCEL"));
    expect(h.left).toEqual(["200", "200"]);
    expect(h.last().message.cseq.method).toBe("CANCEL");
    expect(h.cancelled).toEqual([]);
  });

  it("has no effect on other methods, live or completed, and is answered 200", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    h.receive(request("CANCEL"));
    give(h.requests[0], 202);
    h.receive(request("SUBSCRIBE", { branch: "z9hG4bKsub" }));
    give(h.requests[1], 489);
    h.receive(request("CANCEL", { branch: "z9hG4bKsub" }));
    expect(h.left).toEqual(["200", "202", "489", "200"]);
    expect(h.cancelled).toEqual([]);
  });

  it("lets the TU answer the INVITE 487 from within the callback", () => {
    const h = new Harness("udp", {}, { onCancel: (invite) => give(invite, 487) });
    h.receive(request("INVITE"));
    h.receive(request("CANCEL"));
    expect(h.left).toEqual(["200", "487"]);
    h.receive(ackFor(h));
    h.time.advance(33_000);
    h.expectNothingLeft();
  });
});

describe("matching requests (RFC 3261 17.2.3)", () => {
  const requests = (h: Harness) => h.requests.length;

  it("takes equal branch, sent-by and method for one transaction, whatever else differs", () => {
    const h = new Harness();
    h.receive(request("MESSAGE", { cseq: 1 }));
    h.receive(request("MESSAGE", { cseq: 2, callId: "other" }));
    expect(requests(h)).toBe(1);
  });

  it("tells apart another branch, another sent-by, another method", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    h.receive(request("MESSAGE", { branch: "z9hG4bKpeer2" }));
    h.receive(request("MESSAGE", { sentBy: "192.0.2.8:5060" }));
    h.receive(request("MESSAGE", { sentBy: "192.0.2.7" }));
    h.receive(request("INVITE"));
    expect(requests(h)).toBe(5);
  });

  it("compares the sent-by host without regard to case", () => {
    const h = new Harness();
    h.receive(request("MESSAGE", { sentBy: "Host.example.com" }));
    h.receive(request("MESSAGE", { sentBy: "host.EXAMPLE.com" }));
    expect(requests(h)).toBe(1);
  });

  it.each([null, "1", "z9hG4bK"])(
    "branch %s without the cookie: by Request-URI, tags, Call-ID, CSeq and Via",
    (branch) => {
      const h = new Harness();
      const base = { branch, fromTag: "f", callId: "c", cseq: 3, uri: "sip:u@example.com" };
      h.receive(request("MESSAGE", base));
      h.receive(request("MESSAGE", base));
      expect(requests(h)).toBe(1);
      h.receive(request("MESSAGE", { ...base, uri: "sip:v@example.com" }));
      h.receive(request("MESSAGE", { ...base, toTag: "t" }));
      h.receive(request("MESSAGE", { ...base, fromTag: "g" }));
      h.receive(request("MESSAGE", { ...base, callId: "d" }));
      h.receive(request("MESSAGE", { ...base, cseq: 4 }));
      h.receive(request("MESSAGE", { ...base, sentBy: "192.0.2.8" }));
      h.receive(request("INVITE", base));
      expect(requests(h)).toBe(8);
    },
  );

  it("without the cookie, answers a retransmission out of the completed store as well", () => {
    const h = new Harness();
    h.receive(request("MESSAGE", { branch: null }));
    give(h.requests[0], 200);
    h.receive(request("MESSAGE", { branch: null }));
    expect(h.left).toEqual(["200", "200"]);
  });

  it("without the cookie, an ACK finds its INVITE by the To tag of the response", () => {
    const h = new Harness();
    h.receive(request("INVITE", { branch: null }));
    give(h.requests[0], 486, "ours");
    h.receive(request("ACK", { branch: null, toTag: "other" }));
    expect(h.acks.length).toBe(1);
    h.receive(request("ACK", { branch: null, toTag: "ours" }));
    expect(h.acks.length).toBe(1);
    h.time.advance(500);
    expect(h.left).toEqual(["486"]);
    h.time.advance(5000);
    h.expectNothingLeft();
    h.receive(request("ACK", { branch: null, toTag: "ours" }));
    expect(h.acks.length).toBe(2);
  });

  it("without the cookie, an ACK for a 2xx goes to the TU and is not absorbed (RFC 6026 6)", () => {
    const h = new Harness();
    h.receive(request("INVITE", { branch: null }));
    give(h.requests[0], 200, "ours");
    h.receive(request("ACK", { branch: null, toTag: "ours" }));
    expect(h.acks.length).toBe(1);
  });

  it("without the cookie, a CANCEL finds its INVITE", () => {
    const h = new Harness();
    h.receive(request("INVITE", { branch: null }));
    h.receive(request("CANCEL", { branch: null }));
    expect(h.left).toEqual(["200"]);
    expect(h.cancelled).toEqual([h.requests[0]]);
  });

  it("drops what has no CSeq to be matched by, and says so", () => {
    const h = new Harness();
    const malformed = h.count("malformed");
    const stripped = request("MESSAGE", { branch: null }).replace(/CSeq: .*\r\n/, "");
    h.receive(stripped);
    expect(malformed()).toBe(1);
    expect(requests(h)).toBe(0);
  });
});

describe("the layer's bounds", () => {
  it("answers 503 with Retry-After and without state above maxTransactions, and goes on below", () => {
    const h = new Harness("udp", { maxTransactions: 2, retryAfter: 7 });
    const limited = h.count("limited");
    for (const branch of ["a", "b", "c"]) h.receive(request("MESSAGE", { branch: `z9hG4bK${branch}` }));
    expect(h.requests.length).toBe(2);
    expect(h.left).toEqual(["503"]);
    expect(h.last().message.header("Retry-After")).toBe("7");
    expect(limited()).toBe(1);
    give(h.requests[0], 200);
    h.receive(request("MESSAGE", { branch: "z9hG4bKc" }));
    expect(h.requests.length).toBe(3);
  });

  it("still answers retransmissions and takes ACK and responses while full", () => {
    const h = new Harness("udp", { maxTransactions: 1 });
    h.receive(request("INVITE"));
    give(h.requests[0], 486);
    h.receive(request("INVITE"));
    h.receive(ackFor(h));
    h.time.advance(500);
    expect(h.left).toEqual(["486", "486"]);
  });

  it("lets a CANCEL in while full where it ends a live INVITE, for that makes room", () => {
    const h = new Harness("udp", { maxTransactions: 1 });
    h.receive(request("INVITE"));
    h.receive(request("CANCEL"));
    h.receive(request("CANCEL", { branch: "z9hG4bKnothing" }));
    expect(h.left).toEqual(["200", "503"]);
    expect(h.cancelled.length).toBe(1);
  });

  it("keeps the ACK of a 503 given without state from the TU", () => {
    const h = new Harness("udp", { maxTransactions: 0 });
    h.receive(request("INVITE"));
    expect(h.left).toEqual(["503"]);
    h.receive(ackFor(h));
    expect(h.acks).toEqual([]);
  });

  it("lets the oldest completed transactions go at maxCompletedBytes, and counts them", () => {
    const h = new Harness("udp", { maxCompletedBytes: 2 * 1024 * 1024 });
    const limited = h.count("limited");
    for (let i = 0; i < 20_000; i++) {
      h.receive(request("MESSAGE", { branch: `z9hG4bK${i}` }));
      give(h.requests.pop(), 200);
    }
    expect(h.layer.counts().completedBytes).toBeLessThan(4 * 1024 * 1024);
    expect(h.layer.counts().completed).toBeLessThan(20_000);
    expect(limited()).toBeGreaterThan(0);
    h.time.advance(33_000);
    h.expectNothingLeft();
  });

  it("drops everything at stop, timers and all, and stays silent", () => {
    const h = new Harness();
    h.receive(request("INVITE"));
    h.receive(request("MESSAGE", { branch: "z9hG4bK2" }));
    h.receive(request("MESSAGE", { branch: "z9hG4bK3" }));
    give(h.requests[2], 200);
    const bare = request("MESSAGE", { bare: true });
    h.send(bare);
    h.send(request("INVITE", { bare: true }));
    const before = h.sent.length;
    h.layer.stop();
    h.expectNothingLeft();
    give(h.requests[0], 200);
    give(h.requests[1], 200);
    h.send(bare);
    h.receive(request("MESSAGE", { branch: "z9hG4bK4" }));
    h.time.advance(60_000);
    expect(h.sent.length).toBe(before);
    expect(h.requests.length).toBe(3);
    h.expectNothingLeft();
  });

  it("counts live server and client transactions, and completed ones apart", () => {
    const h = new Harness();
    h.receive(request("MESSAGE"));
    h.send(request("INVITE", { bare: true }));
    expect(h.layer.counts()).toMatchObject({ server: 1, client: 1, completed: 0 });
    h.receive(request("INVITE", { branch: "z9hG4bKi" }));
    give(h.requests[1], 200);
    expect(h.layer.counts()).toMatchObject({ server: 1, client: 1, completed: 1 });
  });

  it("tells of strays and retransmissions", () => {
    const h = new Harness();
    const strays = h.count("stray");
    const retransmissions = h.count("retransmission");
    h.receive(request("MESSAGE"));
    h.receive(request("MESSAGE"));
    give(h.requests[0], 200);
    h.receive(request("MESSAGE"));
    h.send(request("MESSAGE", { bare: true }));
    h.time.advance(500);
    expect(retransmissions()).toBe(3);
    h.receive(
      h
        .last()
        .raw.replace(/^.*\r\n/, "SIP/2.0 200 OK\r\n")
        .replace(/branch=[^;]+/, "branch=z9hG4bKnobody"),
    );
    expect(strays()).toBe(1);
    expect(h.told).toEqual([]);
  });
});

describe("a relay of both sides", () => {
  it("leaves nothing behind after a thousand requests, half of whose answers are lost or doubled", () => {
    const h = new Harness();
    for (let i = 0; i < 1000; i++) {
      h.receive(request(i % 3 === 0 ? "INVITE" : "MESSAGE", { branch: `z9hG4bK${i}`, callId: `call-${i}` }));
      const server = h.requests.pop()!;
      h.layer.send(server.request as SipRequest, h.flow, {
        onResponse: (response) => {
          if (response.status >= 200) give(server, response.status);
        },
        onTimeout: () => give(server, i % 3 === 0 ? 408 : 480),
        onTransportError: () => give(server, 480),
      });
      const sent = h.last().message as SipRequest;
      const status = i % 5 === 0 ? 404 : 200;
      const raw = buildResponse(sent, status, undefined, { toTag: "x" }).raw;
      for (let n = 0; n < i % 4; n++) h.receive(raw);
      h.time.advance(7);
    }
    expect(h.layer.counts().completed).toBeGreaterThan(400);
    h.time.advance(70_000);
    h.expectNothingLeft();
  });
});
