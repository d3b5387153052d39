import { describe, expect, it } from "vitest";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import { answer, Harness, request } from "./harness.ts";

const message = request("MESSAGE", { bare: true });
const invite = request("INVITE", { bare: true, headers: ["Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>"] });

describe("sending a request", () => {
  it("adds a Via on top with the listen point's sent-by, a branch with the cookie, and rport (RFC 3261 8.1.1.7, RFC 3581 3)", () => {
    const h = new Harness();
    const sent = h.layer.send(
      h.send(message).request.edit().removeFirstValue("Via").build() as SipRequest,
      h.flow,
      h.clientUser,
    ).request;
    expect(sent.header("Via")).toMatch(/^SIP\/2\.0\/UDP 192\.0\.2\.1:5060;branch=z9hG4bK[^;]+;rport$/);
    expect(sent.raw.indexOf("Via:")).toBe(sent.raw.indexOf("\r\n") + 2);
  });

  it("never uses a branch twice", () => {
    const h = new Harness();
    const branches = new Set(Array.from({ length: 1000 }, () => h.send(message).branch));
    expect(branches.size).toBe(1000);
  });

  it("takes the branch it is told to", () => {
    const h = new Harness();
    expect(h.send(message, { branch: "z9hG4bKmine" }).branch).toBe("z9hG4bKmine");
    expect(h.last().message.via.branch).toBe("z9hG4bKmine");
    expect(() => h.send(message, { branch: "z9hG4bKmine" })).toThrow("in use");
  });

  it("names the transport in the Via", () => {
    const h = new Harness("tls");
    h.send(message);
    expect(h.last().message.via.transport).toBe("TLS");
  });

  it("sends an ACK for a 2xx without a transaction", () => {
    const h = new Harness();
    h.layer.sendStateless(h.send(request("ACK", { bare: true })).request, h.flow, "z9hG4bKack");
    expect(h.last().message.via.branch).toBe("z9hG4bKack");
  });
});

describe("non-INVITE client transaction, driven", () => {
  it("retransmits after 500 ms, 1 s, 2 s, 4 s, 4 s ... and informs of the timeout at 32 s (timers E and F)", () => {
    const h = new Harness();
    h.send(message);
    h.time.advance(40_000);
    expect(h.times("MESSAGE")).toEqual([0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500]);
    expect(new Set(h.sent.map(({ raw }) => raw)).size).toBe(1);
    expect(h.told).toEqual(["timeout"]);
    h.expectNothingLeft();
  });

  it("retransmits every T2 once a provisional response has come", () => {
    const h = new Harness();
    h.send(message);
    h.time.advance(600);
    h.receive(answer(h.last().message, 100));
    h.time.advance(40_000);
    expect(h.times("MESSAGE")).toEqual([0, 500, 1500, 5500, 9500, 13500, 17500, 21500, 25500, 29500]);
    expect(h.told).toEqual(["100", "timeout"]);
  });

  it("sends once over a reliable transport and still times out", () => {
    const h = new Harness("tcp");
    h.send(message);
    h.time.advance(40_000);
    expect(h.times("MESSAGE")).toEqual([0]);
    expect(h.told).toEqual(["timeout"]);
    h.expectNothingLeft();
  });

  it("gives up after the caller's own time where that is shorter than Timer F", () => {
    const h = new Harness();
    h.send(message, { timeoutMs: 8000 });
    h.time.advance(7990);
    expect(h.told).toEqual([]);
    h.time.advance(10);
    expect(h.told).toEqual(["timeout"]);
    h.expectNothingLeft();
  });

  it("does not wait longer than Timer F whatever the caller says", () => {
    const h = new Harness();
    h.send(message, { timeoutMs: 100_000 });
    h.time.advance(32_000);
    expect(h.told).toEqual(["timeout"]);
  });

  it("passes one final response up; retransmissions of it are absorbed", () => {
    const h = new Harness();
    const strays = h.count("stray");
    h.send(message);
    const { message: sent } = h.last();
    h.receive(answer(sent, 200));
    h.receive(answer(sent, 200));
    h.receive(answer(sent, 404));
    expect(h.told).toEqual(["200"]);
    expect(strays()).toBe(2);
    h.expectNothingLeft();
    h.time.advance(40_000);
    expect(h.left).toEqual(["MESSAGE"]);
  });

  it("absorbs a response that comes after Timer F (RFC 4320 4.2, RFC 6026 8.9)", () => {
    const h = new Harness();
    h.send(message);
    h.time.advance(32_000);
    h.receive(answer(h.last().message, 200));
    expect(h.told).toEqual(["timeout"]);
  });

  it("informs the TU of a transport error, once, and ends (17.1.4)", () => {
    const h = new Harness();
    h.flow.failing = new Error("unreachable");
    h.send(message);
    h.time.advance(40_000);
    expect(h.told).toEqual(["error unreachable"]);
    h.expectNothingLeft();
  });

  it("ends at once when the connection it waits on dies", () => {
    const h = new Harness("tcp");
    h.send(message);
    h.flow.close(new Error("reset"));
    expect(h.told).toEqual(["error reset"]);
    h.expectNothingLeft();
  });

  it("takes its watch off the connection when it ends", () => {
    const h = new Harness("tcp");
    h.send(message);
    expect(h.flow.watchers.size).toBe(1);
    h.receive(answer(h.last().message, 200));
    expect(h.flow.watchers.size).toBe(0);
  });

  it("is silent after abandon, and so are its timers", () => {
    const h = new Harness();
    const transaction = h.send(message);
    transaction.abandon();
    transaction.abandon();
    h.receive(answer(h.last().message, 200));
    h.time.advance(40_000);
    expect(h.told).toEqual([]);
    expect(h.left).toEqual(["MESSAGE"]);
    h.expectNothingLeft();
  });

  it("matches by branch and CSeq method, not by branch alone (17.1.3)", () => {
    const h = new Harness();
    h.send(message);
    const wrong = answer(h.last().message, 200).replace("1 MESSAGE", "1 INVITE");
    h.receive(wrong);
    expect(h.told).toEqual([]);
    h.receive(answer(h.last().message, 200));
    expect(h.told).toEqual(["200"]);
  });

  it("lets the TU send again from within a callback", () => {
    const h = new Harness();
    let tries = 0;
    const again = {
      ...h.clientUser,
      onTimeout: () => {
        if (++tries < 3) h.layer.send(bare, h.flow, again);
      },
    };
    const bare = h.send(message).request;
    h.layer.send(bare, h.flow, again, { timeoutMs: 1000 });
    h.time.advance(100_000);
    expect(tries).toBe(3);
    h.expectNothingLeft();
  });
});

describe("INVITE client transaction, driven", () => {
  it("retransmits after 500 ms, doubling without a cap, and times out at 64*T1 (timers A and B)", () => {
    const h = new Harness();
    h.send(invite);
    h.time.advance(40_000);
    expect(h.times("INVITE")).toEqual([0, 500, 1500, 3500, 7500, 15500, 31500]);
    expect(h.told).toEqual(["timeout"]);
    expect(h.times("ACK")).toEqual([]);
    h.expectNothingLeft();
  });

  it("stops retransmitting and waits without end once a provisional has come", () => {
    const h = new Harness();
    h.send(invite);
    h.receive(answer(h.last().message, 180));
    h.time.advance(300_000);
    expect(h.left).toEqual(["INVITE"]);
    expect(h.told).toEqual(["180"]);
    expect(h.layer.counts().client).toBe(1);
  });

  it("builds the ACK for a non-2xx as 17.1.1.3 says: Request-URI, Via, From, Call-ID, CSeq number, Route, To of the response", () => {
    const h = new Harness();
    h.send(invite);
    const sent = h.last().message as SipRequest;
    h.receive(answer(sent, 486, "theirs"));
    const ack = h.last().message as SipRequest;
    expect(ack.method).toBe("ACK");
    expect(ack.requestUri).toBe(sent.requestUri);
    expect(ack.headers("Via")).toEqual([sent.header("Via")]);
    expect(ack.header("From")).toBe(sent.header("From"));
    expect(ack.header("To")).toBe("<sip:bob@example.com>;tag=theirs");
    expect(ack.callId).toBe(sent.callId);
    expect(ack.cseq).toEqual({ number: 1, method: "ACK" });
    expect(ack.values("Route")).toEqual(["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]);
    expect(ack.body).toBe("");
  });

  it("acknowledges each retransmission of the final for the 32 s of Timer D, and passes it up once", () => {
    const h = new Harness();
    h.send(invite);
    const sent = h.last().message;
    h.receive(answer(sent, 404));
    h.time.advance(500);
    h.receive(answer(sent, 404));
    h.time.advance(31_000);
    h.receive(answer(sent, 404));
    expect(h.times("ACK")).toEqual([0, 500, 31_500]);
    expect(new Set(h.sent.slice(1).map(({ raw }) => raw)).size).toBe(1);
    expect(h.told).toEqual(["404"]);
    expect(h.layer.counts()).toMatchObject({ client: 0, completed: 1 });
    h.time.advance(500);
    h.receive(answer(sent, 404));
    expect(h.times("ACK").length).toBe(3);
    h.expectNothingLeft();
  });

  it("keeps Timer D at 32 s where T1 is smaller", () => {
    const h = new Harness("udp", { t1: 100 });
    h.send(invite);
    h.receive(answer(h.last().message, 404));
    h.time.advance(31_990);
    expect(h.layer.counts().completed).toBe(1);
    h.time.advance(10);
    h.expectNothingLeft();
  });

  it("sends the ACK over reliable transports too, and ends at once (Timer D zero)", () => {
    const h = new Harness("tcp");
    h.send(invite);
    h.receive(answer(h.last().message, 404));
    expect(h.left).toEqual(["INVITE", "ACK"]);
    expect(h.told).toEqual(["404"]);
    h.expectNothingLeft();
  });

  it("sends no ACK for a 2xx, and passes every 2xx up for the 32 s of Timer M, of all forks (RFC 6026 7.2)", () => {
    const h = new Harness();
    h.send(invite);
    const sent = h.last().message;
    h.receive(answer(sent, 200, "fork1"));
    h.time.advance(500);
    h.receive(answer(sent, 200, "fork1"));
    h.receive(answer(sent, 200, "fork2"));
    h.receive(answer(sent, 180, "fork3"));
    h.receive(answer(sent, 486, "fork3"));
    expect(h.left).toEqual(["INVITE"]);
    expect(h.responses.map((response) => response.to.tag)).toEqual(["fork1", "fork1", "fork2"]);
    h.time.advance(31_490);
    h.receive(answer(sent, 200, "fork4"));
    expect(h.told.length).toBe(4);
    h.time.advance(10);
    h.receive(answer(sent, 200, "fork5"));
    expect(h.told.length).toBe(4);
    h.expectNothingLeft();
  });

  it("does not retransmit the INVITE after a 2xx that came without a provisional", () => {
    const h = new Harness();
    h.send(invite);
    h.receive(answer(h.last().message, 200));
    h.time.advance(32_000);
    expect(h.left).toEqual(["INVITE"]);
  });

  it("informs the TU of a transport error, once", () => {
    const h = new Harness();
    h.flow.failing = new Error("unreachable");
    h.send(invite);
    h.time.advance(100_000);
    expect(h.told).toEqual(["error unreachable"]);
    h.expectNothingLeft();
  });

  it("ends quietly when an ACK cannot leave: the TU has its final response", () => {
    const h = new Harness();
    h.send(invite);
    h.flow.failing = new Error("unreachable");
    h.receive(answer(h.sent[0]!.message, 404));
    h.receive(answer(h.sent[0]!.message, 404));
    h.time.advance(10);
    expect(h.told).toEqual(["404"]);
    h.expectNothingLeft();
  });
});

describe("CANCEL (RFC 3261 9.1)", () => {
  it("is built from the request: Request-URI, Via, To, From, Call-ID, CSeq number, Route; no Require", () => {
    const h = new Harness();
    const transaction = h.send(
      request("INVITE", { bare: true, headers: ["Route: <sip:p1.example.com;lr>", "Require: x", "Proxy-Require: y"] }),
    );
    const sent = h.last().message as SipRequest;
    h.receive(answer(sent, 180));
    transaction.cancel('SIP;cause=200;text="Call completed elsewhere"');
    const cancel = h.last().message as SipRequest;
    expect(cancel.method).toBe("CANCEL");
    expect(cancel.requestUri).toBe(sent.requestUri);
    expect(cancel.headers("Via")).toEqual([sent.header("Via")]);
    for (const name of ["To", "From", "Call-ID", "Route"]) expect(cancel.headers(name)).toEqual(sent.headers(name));
    expect(cancel.cseq).toEqual({ number: 1, method: "CANCEL" });
    expect(cancel.has("Require") || cancel.has("Proxy-Require")).toBe(false);
    expect(cancel.header("Reason")).toBe('SIP;cause=200;text="Call completed elsewhere"');
  });

  it("MUST NOT be sent before a provisional response, and is sent when one comes, once", () => {
    const h = new Harness();
    const transaction = h.send(invite);
    transaction.cancel();
    h.time.advance(600);
    expect(h.left).toEqual(["INVITE", "INVITE"]);
    h.receive(answer(h.last().message, 100));
    h.receive(answer(h.last().message, 180));
    transaction.cancel();
    expect(h.left).toEqual(["INVITE", "INVITE", "CANCEL"]);
  });

  it("is not sent after a final response", () => {
    const h = new Harness();
    const transaction = h.send(invite);
    h.receive(answer(h.last().message, 404));
    transaction.cancel();
    expect(h.left).toEqual(["INVITE", "ACK"]);
  });

  it("is not sent where the final response comes in place of the provisional one", () => {
    const h = new Harness();
    const transaction = h.send(invite);
    transaction.cancel();
    h.receive(answer(h.last().message, 200));
    expect(h.left).toEqual(["INVITE"]);
    expect(h.told).toEqual(["200"]);
  });

  it("is a transaction of its own, retransmitted until answered; the 487 ends the INVITE with an ACK", () => {
    const h = new Harness();
    const transaction = h.send(invite);
    const sent = h.last().message;
    h.receive(answer(sent, 180));
    transaction.cancel();
    h.time.advance(500);
    expect(h.times("CANCEL")).toEqual([0, 500]);
    h.receive(answer(h.last().message, 200));
    h.receive(answer(sent, 487));
    expect(h.told).toEqual(["180", "487"]);
    expect(h.left.slice(1)).toEqual(["CANCEL", "CANCEL", "ACK"]);
    h.time.advance(32_000);
    h.expectNothingLeft();
  });

  it("crossing a 200 leaves the 200 standing: it goes to the TU", () => {
    const h = new Harness();
    const transaction = h.send(invite);
    const sent = h.last().message;
    h.receive(answer(sent, 180));
    transaction.cancel();
    h.receive(answer(sent, 200));
    h.receive(answer(h.last().message, 481));
    expect(h.told).toEqual(["180", "200"]);
    h.time.advance(32_000);
    h.expectNothingLeft();
  });

  it("without any final response the INVITE is given up 64*T1 later", () => {
    const h = new Harness();
    const transaction = h.send(invite);
    h.receive(answer(h.last().message, 180));
    h.time.advance(60_000);
    transaction.cancel();
    h.time.advance(31_990);
    expect(h.told).toEqual(["180"]);
    h.time.advance(10);
    expect(h.told).toEqual(["180", "timeout"]);
    h.expectNothingLeft();
  });

  it("does nothing for other methods than INVITE", () => {
    const h = new Harness();
    const transaction = h.send(message);
    h.receive(answer(h.last().message, 100));
    transaction.cancel();
    expect(h.left).toEqual(["MESSAGE"]);
  });

  it("may be asked for from within the callback of the provisional response", () => {
    const h = new Harness();
    const bare = (h.send(invite).request.edit().removeFirstValue("Via").build() as SipRequest) ?? null;
    h.layer.send(bare, h.flow, { ...h.clientUser, onResponse: (_, transaction) => transaction.cancel() });
    h.receive(answer(h.last().message, 183));
    expect(h.left).toEqual(["INVITE", "INVITE", "CANCEL"]);
  });
});
