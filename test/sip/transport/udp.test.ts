import { describe, expect, it } from "vitest";
import { buildResponse } from "../../../src/sip/message/build.ts";
import type { SipRequest } from "../../../src/sip/message/message.ts";
import type { Flow, Target } from "../../../src/sip/transport/transport.ts";
import { listen, PEER, PEER6, request, response, TCP, UDP, UdpPeer, US, US6, World } from "./fixture.ts";

async function fixture(points = [UDP, TCP], zone = {}) {
  const world = await new World({ points }, zone).start();
  const peer = await new UdpPeer().open(world.peer, PEER, 5060);
  return { world, peer };
}

async function receivedVia(via: string, port = 5060, points = [UDP]): Promise<string | undefined> {
  const world = await new World({ points }).start();
  const peer = await new UdpPeer().open(world.peer, PEER, port);
  peer.send(request({ via }));
  await world.sim.advance(100);
  return world.request.header("Via");
}

describe("RFC 3261 18.2.1, RFC 3581 4: the top Via of a request that came in", () => {
  it("stays as it is where sent-by is the source address", async () => {
    const via = `SIP/2.0/UDP ${PEER}:5060;branch=z9hG4bK1`;
    expect(await receivedVia(via)).toBe(via);
  });

  it("MUST get `received` where sent-by is another address", async () => {
    const marked = await receivedVia("SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK1");
    expect(marked).toBe(`SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bK1;received=${PEER}`);
  });

  it("MUST get `received` where sent-by is a name", async () => {
    const marked = await receivedVia("SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bK1");
    expect(marked).toBe(`SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bK1;received=${PEER}`);
  });

  it.each([
    `SIP/2.0/UDP ${PEER};branch=z9hG4bK1;rport`,
    `SIP/2.0/UDP ${PEER};rport;branch=z9hG4bK1`,
    `SIP/2.0/UDP ${PEER} ; branch = z9hG4bK1 ;x="a;rport;b" ; rport`,
  ])("MUST get the source port into an empty rport, and `received` even if it equals sent-by: %s", async (via) => {
    const world = await new World({ points: [UDP] }).start();
    const peer = await new UdpPeer().open(world.peer, PEER, 40_001);
    peer.send(request({ via }));
    await world.sim.advance(100);
    expect(world.request.via).toMatchObject({ received: PEER, rport: 40_001, branch: "z9hG4bK1" });
    expect(world.request.via.params.get("x")).toBe(via.includes("x=") ? "a;rport;b" : undefined);
  });

  it("a sender cannot say himself where he is: `received` and rport are replaced", async () => {
    const marked = await receivedVia("SIP/2.0/UDP 203.0.113.9;received=203.0.113.66;RPORT=9;branch=z9hG4bK1");
    expect(marked).toBe(`SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK1;received=${PEER};rport=5060`);
  });

  it("only the top Via is changed, and nothing else", async () => {
    const world = await new World({ points: [UDP] }).start();
    const peer = await new UdpPeer().open(world.peer, PEER, 5060);
    const text = request({
      via: "SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/UDP b.example;branch=z9hG4bK2",
      body: "\xff\r\n",
    });
    peer.send(text);
    await world.sim.advance(100);
    expect(world.request.raw).toBe(text.replace("z9hG4bK1", `z9hG4bK1;received=${PEER}`));
  });

  it("an IPv6 source is compared as an address, not as text", async () => {
    const world = await new World({ points: [{ transport: "udp", host: US6, port: 5060 }] }).start();
    const peer = await new UdpPeer().open(world.peer, PEER6, 5060);
    peer.send(request({ via: "SIP/2.0/UDP [2001:DB8:0:0::2]:5060;branch=z9hG4bK1" }), US6);
    peer.send(request({ via: "SIP/2.0/UDP [2001:db8::9]:5060;branch=z9hG4bK1" }), US6);
    await world.sim.advance(100);
    expect(world.received.map((each) => (each.message as SipRequest).via.received)).toEqual([undefined, PEER6]);
  });
});

describe("RFC 3261 18.2.2, RFC 3581 4: where a response goes over UDP", () => {
  async function answered(
    via: string,
    port: number,
  ): Promise<{ at: Record<string, number>; from: string | undefined }> {
    const { world } = await fixture();
    const source = await new UdpPeer().open(world.peer, PEER, port);
    const advertised = await new UdpPeer().open(world.peer, PEER, 5080);
    const other = await new UdpPeer().open(world.sim.runtime(["203.0.113.9"]), "203.0.113.9", 5080);
    source.send(request({ via }));
    await world.sim.advance(10);
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, world.last.flow);
    await world.sim.advance(10);
    const at = { source: source.got.length, advertised: advertised.got.length, other: other.got.length };
    return { at, from: [...source.got, ...advertised.got, ...other.got][0]?.from };
  }

  it("with rport to the source, from the address the request came to", async () => {
    const { at, from } = await answered("SIP/2.0/UDP 203.0.113.9:5080;branch=z9hG4bK1;rport", 40_001);
    expect(at).toEqual({ source: 1, advertised: 0, other: 0 });
    expect(from).toBe(`${US} 5060`);
  });

  it("without rport MUST be sent to `received` at the port of sent-by", async () => {
    const { at } = await answered("SIP/2.0/UDP 203.0.113.9:5080;branch=z9hG4bK1", 40_001);
    expect(at).toEqual({ source: 0, advertised: 1, other: 0 });
  });

  it("with maddr MUST be forwarded there", async () => {
    const { at } = await answered(`SIP/2.0/UDP ${PEER}:5080;branch=z9hG4bK1;maddr=203.0.113.9;rport`, 40_001);
    expect(at).toEqual({ source: 0, advertised: 0, other: 1 });
  });

  it("with a maddr that is a name, to its address", async () => {
    const { world, peer } = await fixture([UDP], { "m.example": { a: ["203.0.113.9"] } });
    const other = await new UdpPeer().open(world.sim.runtime(["203.0.113.9"]), "203.0.113.9", 5060);
    peer.send(request({ via: `SIP/2.0/UDP ${PEER};branch=z9hG4bK1;maddr=m.example` }));
    await world.sim.advance(10);
    world.layer.respond(buildResponse(world.request, 200).raw, world.request, world.last.flow);
    await world.sim.advance(100);
    expect(other.got).toHaveLength(1);
  });
});

describe("RFC 3261 18.1.2: responses", () => {
  it("one whose top Via is ours is handed up", async () => {
    const { world, peer } = await fixture();
    peer.send(response(`SIP/2.0/UDP ${US}:5060;branch=z9hG4bKx`));
    peer.send(response(`SIP/2.0/UDP ${US};branch=z9hG4bKx`));
    await world.sim.advance(10);
    expect(world.responses).toHaveLength(2);
  });

  it("one whose sent-by is none of ours MUST be silently discarded", async () => {
    const { world, peer } = await fixture();
    peer.send(response("SIP/2.0/UDP 203.0.113.9:5060;branch=z9hG4bKx"));
    peer.send(response(`SIP/2.0/UDP ${US}:5099;branch=z9hG4bKx`));
    await world.sim.advance(10);
    expect(world.received).toEqual([]);
    expect(peer.got).toEqual([]);
    expect(world.events("stray")).toHaveLength(2);
  });

  it("our advertised name is ours", async () => {
    const { world, peer } = await fixture([{ ...UDP, sentBy: "Proxy.Example.com:5060" }, TCP]);
    expect(world.layer.points[0]!.sentBy).toBe("proxy.example.com:5060");
    peer.send(response("SIP/2.0/UDP proxy.example.com:5060;branch=z9hG4bKx"));
    peer.send(response("SIP/2.0/UDP PROXY.example.com;branch=z9hG4bKx"));
    await world.sim.advance(10);
    expect(world.responses).toHaveLength(2);
  });
});

describe("RFC 3261 18.1.1: sending requests", () => {
  const target: Target = { transport: "udp", host: PEER, port: 5060 };
  const large = request({ body: "x".repeat(1300) });

  it("a UDP flow is there at once, and the same one while it is used", async () => {
    const { world, peer } = await fixture();
    const flow = world.layer.flowTo(target, 500) as Flow;
    expect(flow).not.toBeInstanceOf(Promise);
    flow.send("x");
    await world.sim.advance(10);
    expect(peer.got).toEqual([{ text: "x", from: `${US} 5060` }]);
    peer.send(request());
    await world.sim.advance(10);
    expect(world.last.flow).toBe(flow);
    expect(world.layer.flowTo(target, 500)).toBe(flow);
  });

  it("over 1300 octets MUST go by TCP", async () => {
    const { world, peer } = await fixture();
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    const flow = await world.sim.finish(Promise.resolve(world.layer.flowTo(target, large.length)));
    expect(flow).toMatchObject({ transport: "tcp", reliable: true, remotePort: 5060 });
    expect(flow.point.transport).toBe("tcp");
    flow.send(large);
    await world.sim.advance(10);
    expect(accepted[0]!.text).toBe(large);
    expect(peer.got).toEqual([]);
  });

  it("SHOULD retry by UDP where TCP is refused, and does not ask again for a while", async () => {
    const { world, peer } = await fixture();
    const flow = await world.sim.finish(Promise.resolve(world.layer.flowTo(target, large.length)));
    expect(flow.transport).toBe("udp");
    flow.send(large);
    await world.sim.advance(10);
    expect(peer.got).toHaveLength(1);
    expect(world.layer.flowTo(target, large.length)).toBe(flow);
    await listen(world.peer, "tcp", PEER, 5060);
    await world.sim.advance(60_000);
    const later = await world.sim.finish(Promise.resolve(world.layer.flowTo(target, large.length)));
    expect(later.transport).toBe("tcp");
  });

  it("without a TCP listen point large requests stay with UDP", async () => {
    const { world } = await fixture([UDP]);
    expect((world.layer.flowTo(target, large.length) as Flow).transport).toBe("udp");
  });

  it("leaves from the first point of the family that faces up, or from the one named", async () => {
    const points = [{ ...UDP, port: 5070, direction: "down" as const }, { ...UDP, host: US6 }, UDP];
    const { world } = await fixture(points);
    expect((world.layer.flowTo(target, 500) as Flow).point.port).toBe(5060);
    const down = world.layer.points[0]!;
    expect((world.layer.flowTo({ ...target, point: down }, 500) as Flow).point).toBe(down);
    expect((world.layer.flowTo({ ...target, host: PEER6 }, 500) as Flow).point.host).toBe(US6);
    expect(world.layer.pointFor("udp", PEER6)?.sentBy).toBe(`[${US6}]:5060`);
  });

  it("rejects where no listen point fits", async () => {
    const { world } = await fixture([UDP]);
    await expect(world.layer.flowTo({ transport: "udp", host: PEER6, port: 5060 }, 1)).rejects.toThrow(
      /no listen point/,
    );
    await expect(world.layer.flowTo({ transport: "tcp", host: PEER, port: 5060 }, 1)).rejects.toThrow(
      /no listen point/,
    );
  });

  it("RFC 3261 18.4: what cannot be sent is told, once and not within the call", async () => {
    const { world } = await fixture();
    const errors: string[] = [];
    const flow = world.layer.flowTo({ ...target, port: 70_000 }, 1) as Flow;
    flow.send("x", (error) => errors.push(error.message));
    flow.send("y".repeat(65_508), (error) => errors.push(error.message));
    expect(errors).toEqual([]);
    await world.sim.advance(5_000);
    expect(errors.sort()).toEqual([
      "the message is too long for UDP",
      expect.stringMatching(/^udp 192\.0\.2\.2:70000: /),
    ]);
    expect(world.events("transportError")).toHaveLength(1);
  });
});

describe("what is no SIP", () => {
  it.each([
    ["nothing", ""],
    ["a CRLF", "\r\n"],
    ["a double CRLF", "\r\n\r\n"],
    ["a NUL", "\0"],
    ["a STUN binding request", "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"],
  ])("%s is ignored without a word", async (_, text) => {
    const { world, peer } = await fixture();
    peer.send(text);
    await world.sim.advance(10);
    expect(world.received).toEqual([]);
    expect(peer.got).toEqual([]);
    expect(world.told).toEqual([]);
  });

  it("garbage is counted and dropped", async () => {
    const { world, peer } = await fixture();
    peer.send("GET / HTTP/1.1\r\n\r\n");
    peer.send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    peer.send("hello");
    await world.sim.advance(10);
    expect(world.received).toEqual([]);
    expect(world.events("malformed")).toHaveLength(3);
    expect(world.events("malformed").every((each) => each.source === `${PEER}:5060` && each.transport === "udp")).toBe(
      true,
    );
  });

  it("a request that can be read but not understood SHOULD get 400, without state", async () => {
    const { world, peer } = await fixture();
    peer.send(request().replace("CSeq: 1 MESSAGE", "CSeq: one MESSAGE"));
    await world.sim.advance(10);
    expect(peer.got[0]!.text).toMatch(/^SIP\/2\.0 400 .*CSeq/);
    expect(peer.got[0]!.text).toContain("To: <sip:bob@example.com>;tag=");
    expect(world.received).toEqual([]);
    expect(world.events("malformed")).toMatchObject([{ status: 400 }]);
  });

  it("RFC 3261 18.3: a request whose datagram ends within the body SHOULD get 400", async () => {
    const { world, peer } = await fixture();
    peer.send(request().replace("Content-Length: 0", "Content-Length: 10"));
    await world.sim.advance(10);
    expect(peer.got[0]!.text).toMatch(/^SIP\/2\.0 400 /);
  });

  it("the same request gets the same To tag again (RFC 3261 8.2.7)", async () => {
    const { world, peer } = await fixture();
    const bad = request().replace("CSeq: 1 MESSAGE", "CSeq: one MESSAGE");
    peer.send(bad);
    peer.send(bad);
    await world.sim.advance(10);
    expect(peer.got[0]!.text).toBe(peer.got[1]!.text);
  });

  it("a malformed ACK MUST NOT be answered, nor a malformed response", async () => {
    const { world, peer } = await fixture();
    peer.send(request({ method: "ACK" }).replace("CSeq: 1", "CSeq: one"));
    peer.send(response(`SIP/2.0/UDP ${US}:5060;branch=z9hG4bKx`).replace("CSeq: 1", "CSeq: one"));
    await world.sim.advance(10);
    expect(peer.got).toEqual([]);
    expect(world.events("malformed").map((each) => each.status)).toEqual([0, 0]);
  });
});

describe("own addresses (RFC 3261 16.4)", () => {
  it("are those bound, those advertised, and all local ones behind a wildcard", async () => {
    const world = await new World({
      points: [
        { transport: "udp", host: "0.0.0.0", port: 5060 },
        { ...TCP, port: 5070, sentBy: "sip.example.com:6000" },
      ],
      localAddresses: ["127.0.0.1", US, US6],
    }).start();
    const own = (host: string, port?: number) => world.layer.isOwn(host, port);
    expect(world.layer.points[0]!.sentBy).toBe(`${US}:5060`);
    expect([own(US, 5060), own(US), own("127.0.0.1", 5060), own(US, 5070), own("SIP.example.com.", 6000)]).toEqual(
      Array(5).fill(true),
    );
    expect([own(US6, 5060), own(US, 5071), own(PEER, 5060), own("sip.example.com"), own("example.com")]).toEqual(
      Array(5).fill(false),
    );
  });

  it("a wildcard without any local address is refused: peers could not answer", () => {
    expect(() => new World({ points: [{ transport: "udp", host: "0.0.0.0", port: 5060 }] })).toThrow(/sentBy/);
  });

  it("port 0 becomes the port bound", async () => {
    const world = await new World({ points: [{ ...UDP, port: 0 }] }).start();
    const point = world.layer.points[0]!;
    expect(point.port).toBeGreaterThan(0);
    expect(point.sentBy).toBe(`${US}:${point.port}`);
    expect(world.layer.isOwn(US, point.port)).toBe(true);
  });
});

describe("start and stop", () => {
  it("a point that cannot be bound is named, and nothing stays open", async () => {
    const world = new World({ points: [UDP, { ...TCP, host: PEER }] });
    await expect(world.sim.finish(world.layer.start())).rejects.toThrow(
      /cannot listen on tcp:\/\/192\.0\.2\.2:5060: .*EADDRNOTAVAIL/,
    );
    expect(world.us.leaks()).toEqual([]);
  });

  it("leaves nothing behind", async () => {
    const { world, peer } = await fixture();
    const flow = world.layer.flowTo({ transport: "udp", host: PEER, port: 5060 }, 1) as Flow;
    flow.send(request(), () => {});
    peer.send(request());
    await world.sim.advance(10);
    expect(await world.stop()).toEqual([]);
  });
});
