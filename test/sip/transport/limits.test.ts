import { describe, expect, it } from "vitest";
import { SourceLimiter } from "../../../src/sip/transport/limits.ts";
import { DEFAULT_LIMITS, type TransportLimits } from "../../../src/sip/transport/options.ts";
import type { Flow } from "../../../src/sip/transport/transport.ts";
import { connect, listen, PEER, request, type StreamPeer, TCP, UDP, UdpPeer, US, World } from "./fixture.ts";

const VIA = `SIP/2.0/TCP ${PEER}:5060;branch=z9hG4bK1`;

async function fixture(limits: Partial<TransportLimits>, trusted = false) {
  return new World({ points: [UDP, TCP], limits, trusted: () => trusted }).start();
}

describe("connections end", () => {
  it("when nothing was said for the idle time, not before", async () => {
    const world = await fixture({ idleMs: 600_000 });
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }));
    await world.sim.advance(500_000);
    world.last.flow.send(request());
    await world.sim.advance(599_000);
    expect(peer.closed).toBe(false);
    await world.sim.advance(2_000);
    expect(peer.closed).toBe(true);
    expect(world.events("connection").at(-1)).toMatchObject({ state: "closed", reason: expect.stringMatching(/idle/) });
    expect(world.events("limited")).toEqual([]);
  });

  it("when no whole message came within 30 s, however busily nothing is said", async () => {
    const world = await fixture({});
    const silent = await connect(world, "tcp");
    const pinging = await connect(world, "tcp");
    const dribbling = await connect(world, "tcp");
    const text = request({ via: VIA });
    for (let second = 0; second < 29; second++) {
      pinging.send("\r\n\r\n");
      dribbling.send(text[second]!);
      await world.sim.advance(1_000);
    }
    expect([silent, pinging, dribbling].map((each) => each.closed)).toEqual([false, false, false]);
    await world.sim.advance(2_000);
    expect([silent, pinging, dribbling].map((each) => each.closed)).toEqual([true, true, true]);
    expect(world.events("limited")).toEqual(Array(3).fill({ what: "half-open", source: PEER }));
  });

  it("when a later message is begun and not finished in time", async () => {
    const world = await fixture({});
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }));
    await world.sim.advance(100_000);
    const text = request({ via: VIA });
    for (let second = 0; second < 62; second++) {
      peer.send(text[second]!);
      await world.sim.advance(1_000);
    }
    expect(peer.closed).toBe(true);
    expect(world.events("limited")).toEqual([{ what: "half-open", source: PEER }]);
  });

  it("a connection that we opened need not be answered within 30 s", async () => {
    const world = await fixture({});
    const { accepted } = await listen(world.peer, "tcp", PEER, 5060);
    await world.sim.finish(Promise.resolve(world.layer.flowTo({ transport: "tcp", host: PEER, port: 5060 }, 1)));
    await world.sim.advance(60_000);
    expect(accepted[0]!.closed).toBe(false);
  });

  it("when the peer does not read what it is sent", async () => {
    const world = await fixture({ bufferedBytes: 100_000 });
    const peer = await connect(world, "tcp");
    peer.send(request({ via: VIA }));
    await world.sim.advance(10);
    world.sim.partition([[US], [PEER]]);
    const failed: number[] = [];
    for (let i = 0; i < 10; i++) world.last.flow.send("x".repeat(60_000), () => failed.push(i));
    await world.sim.advance(10);
    expect(world.events("limited")).toEqual([{ what: "unread", source: PEER }]);
    expect(failed).toContain(9);
    expect(world.layer.connection(world.last.flow.connectionId)).toBeUndefined();
  });
});

describe("connections are counted", () => {
  async function many(world: World, count: number): Promise<StreamPeer[]> {
    const peers: StreamPeer[] = [];
    for (let i = 0; i < count; i++) peers.push(await connect(world, "tcp"));
    await world.sim.advance(100);
    return peers;
  }

  it("per source address: those over the limit are refused, and places come back", async () => {
    const world = await fixture({ connectionsPerSource: 3 });
    const peers = await many(world, 5);
    expect(peers.map((each) => each.closed)).toEqual([false, false, false, true, true]);
    expect(world.events("limited")).toEqual(Array(2).fill({ what: "connections per source", source: PEER }));
    peers[0]!.connection.destroy();
    await world.sim.advance(10);
    expect((await many(world, 1))[0]!.closed).toBe(false);
  });

  it("a known server is not limited per source", async () => {
    const world = await fixture({ connectionsPerSource: 3 }, true);
    expect((await many(world, 5)).some((each) => each.closed)).toBe(false);
  });

  it("in total, also those that we open", async () => {
    const world = await fixture({ connections: 3 }, true);
    const peers = await many(world, 4);
    expect(peers.filter((each) => each.closed)).toHaveLength(1);
    await listen(world.peer, "tcp", PEER, 5060);
    const flow = Promise.resolve(world.layer.flowTo({ transport: "tcp", host: PEER, port: 5060 }, 1));
    await expect(world.sim.finish(flow)).rejects.toThrow(/too many connections/);
  });
});

describe("messages are counted per source", () => {
  const RATE: Partial<TransportLimits> = { messagesPerSecond: 10, messageBurst: 20 };

  async function flood(world: World, count: number): Promise<UdpPeer> {
    const peer = await new UdpPeer().open(world.peer, PEER, 5060);
    for (let i = 0; i < count; i++) peer.send(request());
    await world.sim.advance(10);
    return peer;
  }

  it("over the burst some are told 503 with Retry-After, the rest is dropped", async () => {
    const world = await fixture(RATE);
    const peer = await flood(world, 120);
    expect(world.received).toHaveLength(20);
    expect(peer.got).toHaveLength(10);
    expect(peer.got[0]!.text).toMatch(/^SIP\/2\.0 503 .*\r\nRetry-After: \d+\r\n/s);
    expect(world.events("limited")).toEqual(Array(100).fill({ what: "rate", source: PEER }));
  });

  it("the tokens come back with time", async () => {
    const world = await fixture(RATE);
    const peer = await flood(world, 120);
    await world.sim.advance(1_000);
    for (let i = 0; i < 15; i++) peer.send(request());
    await world.sim.advance(10);
    expect(world.received).toHaveLength(30);
  });

  it("a known server is not limited", async () => {
    const world = await fixture(RATE, true);
    await flood(world, 120);
    expect(world.received).toHaveLength(120);
    expect(world.told).toEqual([]);
  });

  it("over the limit neither an ACK nor a response nor garbage is answered", async () => {
    const world = await fixture({ ...RATE, messageBurst: 1 });
    const peer = await new UdpPeer().open(world.peer, PEER, 5060);
    for (let i = 0; i < 50; i++) {
      peer.send(request({ method: "ACK" }));
      peer.send("SIP/2.0 200 OK\r\nVia: x\r\n\r\n");
      peer.send("garbage");
    }
    await world.sim.advance(10);
    expect(peer.got).toEqual([]);
  });

  it("a connection's messages count too", async () => {
    const world = await fixture(RATE);
    const peer = await connect(world, "tcp");
    for (let i = 0; i < 30; i++) peer.send(request({ via: VIA }));
    await world.sim.advance(10);
    expect(world.received).toHaveLength(20);
    expect(peer.text).toMatch(/^SIP\/2\.0 503 /);
    expect(peer.closed).toBe(false);
  });

  it("remembers no more sources than it may", () => {
    let now = 0;
    const clock = { now: () => now, wall: () => 0 };
    const limiter = new SourceLimiter(
      clock,
      { ...DEFAULT_LIMITS, ...RATE, messageBurst: 1, sources: 100 },
      () => false,
    );
    expect(limiter.admit("198.51.100.1")).toBe("pass");
    expect(limiter.admit("198.51.100.1")).not.toBe("pass");
    for (let i = 0; i < 100; i++) limiter.admit(`203.0.113.${i}`);
    // Forgotten, hence new.
    expect(limiter.admit("198.51.100.1")).toBe("pass");
    now = 1;
    expect(limiter.admit("127.0.0.1")).toBe("pass");
    expect(limiter.admit("127.0.0.1")).toBe("pass");
  });
});

describe("floods leave nothing behind", () => {
  it("random octets over UDP and TCP: no crash, every connection closed, no timer left", async () => {
    const world = await fixture({ idleMs: 10_000, messageMs: 5_000 }, true);
    const udp = await new UdpPeer().open(world.peer, PEER, 5060);
    const { random } = world.sim;
    for (let i = 0; i < 300; i++) udp.send(random.bytes(random.integer(1400)));
    const peers: StreamPeer[] = [];
    for (let i = 0; i < 30; i++) {
      const peer = await connect(world, "tcp");
      peer.connection.send(random.bytes(random.integer(5000)));
      peers.push(peer);
    }
    await world.sim.advance(60_000);
    expect(world.received).toEqual([]);
    expect(peers.every((each) => each.closed)).toBe(true);
    expect(world.us.leaks().filter((line) => !/listener|udp socket/.test(line))).toEqual([]);
    expect(await world.stop()).toEqual([]);
  });

  it("requests with one octet changed anywhere: a message or a counted refusal, and the next one is served", async () => {
    const world = await fixture({}, true);
    const udp = await new UdpPeer().open(world.peer, PEER, 5060);
    const { random } = world.sim;
    const text = request({ via: `SIP/2.0/UDP ${PEER};branch=z9hG4bK1;rport`, body: "hello" });
    const { length } = text;
    let silent = 0;
    for (let at = 0; at < length; at++) {
      const changed = Buffer.from(text, "latin1");
      changed[at] = random.integer(256);
      const before = world.received.length + world.events("malformed").length + world.events("stray").length;
      udp.send(changed);
      await world.sim.advance(2);
      if (world.received.length + world.events("malformed").length + world.events("stray").length === before) silent++;
    }
    expect(silent).toBe(0);
    const flow = world.layer.flowTo({ transport: "udp", host: PEER, port: 5060 }, 1) as Flow;
    udp.send(text);
    await world.sim.advance(10);
    expect(world.last.flow).toBe(flow);
    expect(world.last.message.body).toBe("hello");
  });
});
