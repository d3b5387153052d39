import { describe, expect, it } from "vitest";
import { simulatedCertificate } from "../../../src/runtime/simulated-tls.ts";
import { buildResponse } from "../../../src/sip/message/build.ts";
import type { Flow, Target } from "../../../src/sip/transport/transport.ts";
import { connect, listen, PEER, request, response, StreamPeer, TCP, UDP, US, World } from "./fixture.ts";

const VIA = `SIP/2.0/TCP ${PEER}:5060;branch=z9hG4bK1`;
const TO_PEER: Target = { transport: "tcp", host: PEER, port: 5060 };

async function fixture(options = {}, zone = {}) {
  return new World({ points: [UDP, TCP], ...options }, zone).start();
}

async function flowTo(world: World, target: Target, size = 500): Promise<Flow> {
  return world.sim.finish(Promise.resolve(world.layer.flowTo(target, size)));
}

describe("RFC 3261 18.3: framing of a stream", () => {
  it("messages come out whole however they are cut", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    const text = request({ via: VIA, body: "one" }) + request({ via: VIA, body: "two" });
    for (const octet of text) peer.send(octet);
    await world.sim.advance(100);
    expect(world.received.map((each) => each.message.body)).toEqual(["one", "two"]);
    expect(world.last.flow).toMatchObject({ transport: "tcp", reliable: true, remoteHost: PEER });
  });

  it("a stream that lost its frame is answered 400 and closed", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }).replace(/Content-Length: 0\r\n/, ""));
    await world.sim.advance(100);
    expect(peer.text).toMatch(/^SIP\/2\.0 400 /);
    expect(peer.closed).toBe(true);
    expect(world.received).toEqual([]);
    expect(world.events("malformed")).toMatchObject([{ status: 400, transport: "tcp" }]);
  });

  it("a message over 64 kB is answered 513 and the connection closed", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }).replace("Content-Length: 0", "Content-Length: 1000000"));
    await world.sim.advance(100);
    expect(peer.text).toMatch(/^SIP\/2\.0 513 /);
    expect(peer.closed).toBe(true);
  });

  it("garbage closes the connection without an answer", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send("\x16\x03\x01\r\n\r\n");
    await world.sim.advance(100);
    expect(peer.text).toBe("");
    expect(peer.closed).toBe(true);
    expect(world.events("malformed")).toHaveLength(1);
  });

  it("a request that frames but is malformed gets 400 and the connection stays", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }).replace("CSeq: 1", "CSeq: one"));
    peer.send(request({ via: VIA }));
    await world.sim.advance(100);
    expect(peer.text).toMatch(/^SIP\/2\.0 400 /);
    expect(peer.closed).toBe(false);
    expect(world.received).toHaveLength(1);
  });

  it("RFC 5626 4.4.1: a double CRLF is answered by one, a single one not at all", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send("\r\n\r\n");
    await world.sim.advance(10);
    expect(peer.text).toBe("\r\n");
    peer.send(request({ via: VIA }));
    peer.send("\r\n");
    await world.sim.advance(10);
    expect(peer.text).toBe("\r\n");
    expect(world.received).toHaveLength(1);
  });
});

describe("RFC 3261 18.2.2: responses over streams", () => {
  it("MUST go over the connection the request came on", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }));
    await world.sim.advance(10);
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, world.last.flow);
    await world.sim.advance(10);
    expect(peer.text).toMatch(/^SIP\/2\.0 200 OK/);
  });

  async function gone(via: string, zone = {}) {
    const world = await fixture({}, zone);
    const peer = await connect(world, "tcp");
    peer.send(request({ via }));
    await world.sim.advance(10);
    peer.connection.destroy();
    await world.sim.advance(10);
    return world;
  }

  it("where it is gone, a new one to `received` at the port of sent-by SHOULD be opened", async () => {
    const world = await gone("SIP/2.0/TCP peer.example:5080;branch=z9hG4bK1");
    const { accepted } = await listen(world.peer, "tcp", PEER, 5080);
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, world.last.flow);
    await world.sim.advance(100);
    expect(accepted[0]!.text).toMatch(/^SIP\/2\.0 200 OK/);
  });

  it("if that fails, the procedures of RFC 3263 SHOULD be used", async () => {
    const world = await gone("SIP/2.0/TCP peer.example;branch=z9hG4bK1", {
      "_sip._tcp.peer.example": { srv: [{ name: "s.peer.example", port: 5090, priority: 0, weight: 0 }] },
      "s.peer.example": { a: [PEER] },
    });
    const { accepted } = await listen(world.peer, "tcp", PEER, 5090);
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, world.last.flow);
    await world.sim.advance(100);
    expect(accepted[0]!.text).toMatch(/^SIP\/2\.0 200 OK/);
  });

  it("if nothing helps, the failure is told once", async () => {
    const world = await gone("SIP/2.0/TCP 192.0.2.2:5080;branch=z9hG4bK1");
    const errors: Error[] = [];
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, world.last.flow, (error) =>
      errors.push(error),
    );
    expect(errors).toEqual([]);
    await world.sim.advance(20_000);
    expect(errors).toHaveLength(1);
  });
});

describe("RFC 3261 18, RFC 5923: connections are reused", () => {
  it("for requests to the same address, and shared while they are opened", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const [one, two] = await world.sim.finish(
      Promise.all([world.layer.flowTo(TO_PEER, 500), world.layer.flowTo(TO_PEER, 500)]),
    );
    expect(two).toBe(one);
    expect(world.layer.flowTo(TO_PEER, 500)).toBe(one);
    expect(accepted).toHaveLength(1);
    expect(accepted[0]!.connection.remote.host).toBe(US);
  });

  it("responses come back over the connection that the request left by", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const flow = await flowTo(world, TO_PEER);
    flow.send(request({ via: `SIP/2.0/TCP ${US}:5060;branch=z9hG4bKx` }));
    await world.sim.advance(10);
    accepted[0]!.send(response(`SIP/2.0/TCP ${US}:5060;branch=z9hG4bKx`));
    await world.sim.advance(10);
    expect(world.responses).toHaveLength(1);
    expect(world.last.flow).toBe(flow);
  });

  it("an accepted connection is taken for requests to the very address it came from", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }));
    await world.sim.advance(10);
    const flow = world.layer.flowTo({ transport: "tcp", host: PEER, port: peer.connection.local.port }, 500);
    expect(flow).toBe(world.last.flow);
    expect(world.layer.connection(world.last.flow.connectionId)).toBe(flow);
  });

  async function aliased(via: string, trusted: boolean) {
    const world = await fixture({ trusted: () => trusted });
    const peer = await connect(world, "tcp");
    peer.send(request({ via }));
    await world.sim.advance(10);
    const flow = world.layer.flowTo({ ...TO_PEER, port: 5080 }, 500);
    if (flow instanceof Promise) flow.catch(() => {});
    return flow === world.last.flow;
  }

  it("a known server that says `alias` gets requests to its advertised port over the connection it opened", async () => {
    expect(await aliased(`SIP/2.0/TCP ${PEER}:5080;branch=z9hG4bK1;alias`, true)).toBe(true);
  });

  it("but not one that does not say so, nor one that is not known", async () => {
    expect(await aliased(`SIP/2.0/TCP ${PEER}:5080;branch=z9hG4bK1`, true)).toBe(false);
    expect(await aliased(`SIP/2.0/TCP ${PEER}:5080;branch=z9hG4bK1;alias`, false)).toBe(false);
  });

  it("a connection has a few aliases, not as many as its peer likes", async () => {
    const world = await fixture({ trusted: () => true });
    const peer = await connect(world, "tcp");
    for (let port = 6000; port < 6100; port++)
      peer.send(request({ via: `SIP/2.0/TCP ${PEER}:${port};branch=z9hG4bK1;alias` }));
    await world.sim.advance(100);
    const reused: number[] = [];
    for (let port = 6000; port < 6100; port++) {
      const flow = world.layer.flowTo({ ...TO_PEER, port }, 500);
      if (flow instanceof Promise) flow.catch(() => {});
      else reused.push(port);
    }
    expect(reused).toEqual([6000, 6001, 6002, 6003]);
  });

  it("an alias is never for another address than the source's", async () => {
    const world = await fixture({ trusted: () => true });
    const peer = await connect(world, "tcp");
    peer.send(request({ via: "SIP/2.0/TCP 203.0.113.9:5080;branch=z9hG4bK1;alias" }));
    await world.sim.advance(10);
    const flow = world.layer.flowTo({ transport: "tcp", host: "203.0.113.9", port: 5080 }, 500);
    expect(flow).toBeInstanceOf(Promise);
    await expect(world.sim.finish(flow as Promise<Flow>)).rejects.toThrow();
  });

  it("a connection that ended is not reused: a new one is opened", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const first = await flowTo(world, TO_PEER);
    accepted[0]!.connection.destroy();
    await world.sim.advance(10);
    expect(world.layer.connection(first.connectionId)).toBeUndefined();
    const second = await flowTo(world, TO_PEER);
    expect(second.connectionId).toBeGreaterThan(first.connectionId);
  });

  it("rejects where nobody listens, and may be asked again", async () => {
    const world = await fixture();
    await expect(flowTo(world, TO_PEER)).rejects.toThrow(/192\.0\.2\.2/);
    await listen(world.peer, "tcp", PEER, 5060);
    expect((await flowTo(world, TO_PEER)).transport).toBe("tcp");
  });
});

describe("TLS", () => {
  const ours = { cert: simulatedCertificate({ issuer: "CA", names: "DNS:proxy.example.com" }), key: "k", ca: "CA" };
  const theirs = (names: string) => ({ cert: simulatedCertificate({ issuer: "CA", names }), key: "k", ca: "CA" });
  const TLS = { transport: "tls" as const, host: US, port: 5061, tls: { ...ours, verify: true } };
  const viaTls = `SIP/2.0/TLS ${PEER}:5061;branch=z9hG4bK1;alias`;

  it("a peer's verified names are those of its flow", async () => {
    const world = await fixture({ points: [TLS] });
    const tls = { ...theirs("DNS:east.example.com, URI:sip:example.com"), verify: true };
    const peer = await connect(world, "tls", { port: 5061, tls, serverName: "proxy.example.com" });
    peer.send(request({ via: viaTls }));
    await world.sim.advance(10);
    // RFC 5922 7.1: where there are SIP URIs, DNS names do not count.
    expect(world.last.flow.peerNames).toEqual(["example.com"]);
  });

  it("a peer without a certificate that verifies gets no connection", async () => {
    const world = await fixture({ points: [TLS] });
    const tls = {
      ...theirs("DNS:evil.example"),
      cert: simulatedCertificate({ issuer: "other", names: "DNS:evil.example" }),
      verify: true,
    };
    const peer = await connect(world, "tls", { port: 5061, tls, serverName: "proxy.example.com" }).catch(
      () => undefined,
    );
    await world.sim.advance(100);
    expect(peer === undefined || peer.closed).toBe(true);
    expect(world.events("connection")).toEqual([]);
  });

  it("RFC 5923 8.2: an alias is taken only for a name that the peer's certificate proves", async () => {
    const world = await fixture({ points: [TLS] });
    const tls = { ...theirs("DNS:east.example.com"), verify: true };
    const peer = await connect(world, "tls", { port: 5061, tls, serverName: "proxy.example.com" });
    peer.send(request({ via: viaTls }));
    await world.sim.advance(10);
    const target: Target = { transport: "tls", host: PEER, port: 5061, name: "east.example.com" };
    expect(world.layer.flowTo(target, 500)).toBe(world.last.flow);
    const other = world.layer.flowTo({ ...target, name: "west.example.com" }, 500);
    expect(other).toBeInstanceOf(Promise);
    await expect(world.sim.finish(other as Promise<Flow>)).rejects.toThrow();
  });

  it("RFC 5923 9.3: one address, two domains: a connection is not reused for a name it was not verified for", async () => {
    const world = await fixture({ points: [TLS] });
    const { accepted } = await listen(world.peer, "tls", PEER, 5061, {
      ...theirs("DNS:a.example, DNS:b.example"),
      verify: false,
    });
    const to = (name: string): Target => ({ transport: "tls", host: PEER, port: 5061, name });
    const one = await flowTo(world, to("a.example"));
    expect(await flowTo(world, to("A.example"))).toBe(one);
    // The certificate proves this name as well.
    expect(await flowTo(world, to("b.example"))).toBe(one);
    await expect(flowTo(world, to("c.example"))).rejects.toThrow(/RFC 5922/);
    expect(accepted).toHaveLength(1);
  });
});

describe("WebSocket (RFC 7118)", () => {
  const WS = { transport: "ws" as const, host: US, port: 80 };
  const INVALID = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1";

  async function client() {
    const world = await fixture({ points: [WS] });
    const peer = await connect(world, "ws", { port: 80 });
    return { world, peer };
  }

  it("each WebSocket message is one SIP message, Content-Length or not", async () => {
    const { world, peer } = await client();
    peer.send(request({ via: INVALID, body: "hello" }).replace("Content-Length: 5\r\n", ""));
    await world.sim.advance(10);
    expect(world.request.body).toBe("hello");
    expect(world.last.flow).toMatchObject({ transport: "ws", reliable: true });
  });

  it("5.3: `received` is left out of the Via, so that nothing is told of HTTP proxies", async () => {
    const { world, peer } = await client();
    peer.send(request({ via: INVALID }));
    await world.sim.advance(10);
    expect(world.request.header("Via")).toBe(INVALID);
  });

  it("responses and requests go over the client's connection", async () => {
    const { world, peer } = await client();
    peer.send(request({ via: INVALID }));
    await world.sim.advance(10);
    const { flow } = world.last;
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, flow);
    world.layer.connection(flow.connectionId)!.send(request({ via: `SIP/2.0/WS ${US}:80;branch=z9hG4bKx` }));
    await world.sim.advance(10);
    expect(peer.pieces.map((each) => each.slice(0, 7))).toEqual(["SIP/2.0", "MESSAGE"]);
  });

  it("a double CRLF is answered by one (6)", async () => {
    const { world, peer } = await client();
    peer.send("\r\n\r\n");
    peer.send("\r\n");
    await world.sim.advance(10);
    expect(peer.pieces).toEqual(["\r\n"]);
    expect(world.told.filter((each) => each.name === "malformed")).toEqual([]);
  });

  it("a client that pings is not cut off between two registrations", async () => {
    const { world, peer } = await client();
    peer.send(request({ via: INVALID }));
    await world.sim.advance(3_600_000);
    expect(world.layer.connection(world.last.flow.connectionId)).toBe(world.last.flow);
  });

  it("a client whose connection is gone cannot be called, nor answered", async () => {
    const { world, peer } = await client();
    peer.send(request({ via: INVALID }));
    await world.sim.advance(10);
    peer.connection.destroy();
    await world.sim.advance(10);
    const errors: string[] = [];
    world.layer.respond("SIP/2.0 200 OK\r\n\r\n", world.request, world.last.flow, (error) =>
      errors.push(error.message),
    );
    const flow = world.layer.flowTo({ transport: "ws", host: PEER, port: peer.connection.local.port }, 500);
    await expect(flow).rejects.toThrow(/cannot be called/);
    await world.sim.advance(10);
    expect(errors).toEqual([expect.stringMatching(/cannot be called/)]);
  });
});

describe("RFC 3261 18.4: the end of a connection is told", () => {
  it("to who watches it, once, with the reason; a watch taken off hears nothing", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const flow = await flowTo(world, TO_PEER);
    const told: string[] = [];
    flow.watch((error) => told.push(error.message));
    const off = flow.watch(() => told.push("off"));
    off();
    accepted[0]!.connection.destroy();
    await world.sim.advance(10);
    expect(told).toEqual([expect.stringMatching(/^tcp 192\.0\.2\.2:5060: /)]);
  });

  it("when it is told, the connection is no longer there to be reused", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const flow = await flowTo(world, TO_PEER);
    const live: unknown[] = [];
    flow.watch(() => live.push(world.layer.connection(flow.connectionId)));
    accepted[0]!.connection.destroy();
    await world.sim.advance(10);
    expect(live).toEqual([undefined]);
  });

  it("to those whose octets had not left; not to those whose had", async () => {
    const world = await fixture();
    await listen(world.peer, "tcp", PEER, 5060);
    const flow = await flowTo(world, TO_PEER);
    const failed: string[] = [];
    flow.send(request(), () => failed.push("early"));
    await world.sim.advance(10);
    world.sim.partition([[US], [PEER]]);
    // More than the system takes over from us: the last ones never leave.
    for (let i = 0; i < 6; i++) flow.send("x".repeat(60_000), () => failed.push(`late ${i}`));
    await world.sim.advance(3_600_000);
    expect(failed).toEqual(["late 4", "late 5"]);
  });

  it("who sends over or watches a connection that is gone is told too, not within the call", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const flow = await flowTo(world, TO_PEER);
    accepted[0]!.connection.destroy();
    await world.sim.advance(10);
    const told: string[] = [];
    flow.send("x", () => told.push("send"));
    flow.watch(() => told.push("watch"));
    expect(told).toEqual([]);
    await world.sim.advance(1);
    expect(told).toEqual(["send", "watch"]);
  });
});

describe("stop", () => {
  it("closes what was opened and accepted; what was sent still leaves; nothing stays behind", async () => {
    const world = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const inbound = await connect(world, "tcp");
    const flow = await flowTo(world, TO_PEER);
    flow.send(request());
    expect(await world.stop()).toEqual([]);
    expect(accepted[0]!.text).toMatch(/^MESSAGE/);
    expect(accepted[0]!.closed).toBe(true);
    expect(inbound.closed).toBe(true);
    await expect(world.layer.flowTo(TO_PEER, 500)).rejects.toThrow(/stopped/);
  });

  it("a connection that opens meanwhile is closed at once", async () => {
    const world = await fixture();
    await listen(world.peer, "tcp", PEER, 5060);
    const opening = Promise.resolve(world.layer.flowTo(TO_PEER, 500));
    const outcome = opening.then(
      () => "open",
      (error: Error) => error.message,
    );
    expect(await world.stop()).toEqual([]);
    expect(await outcome).toMatch(/stopped/);
  });
});

describe("a peer's half", () => {
  it("a peer that ends its side in order is let go", async () => {
    const world = await fixture();
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }));
    await world.sim.advance(10);
    peer.connection.end();
    await world.sim.advance(100);
    expect(world.events("connection").map((each) => each.state)).toEqual(["opened", "closed"]);
    expect(peer).toBeInstanceOf(StreamPeer);
    expect(world.us.leaks().filter((line) => line.includes("connection"))).toEqual([]);
  });
});
