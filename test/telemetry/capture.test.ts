import { afterEach, describe, expect, it } from "vitest";
import type { UdpSocket } from "../../src/runtime/runtime.ts";
import { type Capture, type CaptureOptions, createCapture } from "../../src/telemetry/capture.ts";
import type { Events } from "../../src/telemetry/events.ts";
import { always, createWorld, type World } from "../support/world.ts";

const COLLECTOR = { host: "127.0.0.90", port: 9060 };
const BOB = "sip:bob@example.com";

let world: World;
let capture: Capture | undefined;
let collector: UdpSocket | undefined;
afterEach(async () => {
  if (capture !== undefined) await world.simulation.finish(capture.stop());
  if (collector !== undefined) await world.simulation.finish(collector.close());
  capture = undefined;
  collector = undefined;
  await world.stop();
});

/** `SOURCE:PORT > DESTINATION:PORT` and the message, of a HEP3 packet over IPv4. */
interface Got {
  readonly path: string;
  readonly callId: string;
  readonly agent: number;
  readonly key: string;
  readonly wall: number;
  readonly raw: string;
}

function decode(packet: Uint8Array): Got {
  const bytes = Buffer.from(packet);
  const chunks = new Map<number, Buffer>();
  for (let at = 6; at < bytes.length; at += bytes.readUInt16BE(at + 4)) {
    chunks.set(bytes.readUInt16BE(at + 2), bytes.subarray(at + 6, at + bytes.readUInt16BE(at + 4)));
  }
  const end = (host: number, port: number) => `${[...chunks.get(host)!].join(".")}:${chunks.get(port)!.readUInt16BE()}`;
  return {
    path: `${end(3, 7)} > ${end(4, 8)}`,
    callId: chunks.get(17)?.toString("latin1") ?? "",
    agent: chunks.get(12)!.readUInt32BE(),
    key: chunks.get(14)?.toString("latin1") ?? "",
    wall: chunks.get(9)!.readUInt32BE() * 1000 + chunks.get(10)!.readUInt32BE() / 1000,
    raw: chunks.get(15)!.toString("latin1"),
  };
}

async function setUp(options: Partial<CaptureOptions> = {}): Promise<Got[]> {
  world = await createWorld({ servers: { east: { script: always(200) } } });
  const got: Got[] = [];
  collector = await world.simulation.finish(
    world.simulation.runtime([COLLECTOR.host]).network.udp(COLLECTOR, {
      receive: (bytes) => void got.push(decode(bytes)),
      failed: () => undefined,
    }),
  );
  const { runtime, telemetry } = world.proxies[0]!;
  capture = await world.simulation.finish(
    createCapture(runtime, telemetry, { url: COLLECTOR, agentId: 7, ...options }),
  );
  return got;
}

const start = (raw: string): string => raw.slice(0, raw.indexOf("\r\n"));

describe("a capture", () => {
  it("has each message of a relayed request once, in and out, with both its ends", async () => {
    const got = await setUp();
    const client = world.client("127.0.0.50");
    expect(await client.status("MESSAGE", BOB)).toBe(200);
    await world.simulation.advance(10);
    const mine = got.filter((each) => each.raw.includes("MESSAGE") && each.raw.includes("bob@example.com"));
    expect(mine.map((each) => [each.path, start(each.raw).replace(/sip:\S+/, "URI")])).toEqual([
      ["127.0.0.50:5060 > 127.0.0.1:5060", "MESSAGE URI SIP/2.0"],
      ["127.0.0.1:5060 > 127.0.0.11:5060", "MESSAGE URI SIP/2.0"],
      ["127.0.0.11:5060 > 127.0.0.1:5060", "SIP/2.0 200 OK"],
      ["127.0.0.1:5060 > 127.0.0.50:5060", "SIP/2.0 200 OK"],
    ]);
  });

  it("names the Call-ID, the agent, the key and the wall time", async () => {
    const got = await setUp({ key: "open sesame" });
    const request = world.client("127.0.0.50").request("MESSAGE", BOB);
    const before = world.proxies[0]!.runtime.clock.wall();
    await world.client("127.0.0.51").all(world.client("127.0.0.52").beginRequest(request));
    await world.simulation.advance(10);
    const first = got.find((each) => each.callId === request.callId)!;
    expect(first).toMatchObject({ agent: 7, key: "open sesame" });
    expect(first.wall).toBeGreaterThanOrEqual(before);
    expect(first.wall).toBeLessThanOrEqual(world.proxies[0]!.runtime.clock.wall());
  });

  it("is the octets of the wire: what came in bears no mark of ours, bodies and credentials are there", async () => {
    const got = await setUp();
    const client = world.client("127.0.0.50");
    const request = client
      .request("MESSAGE", BOB)
      .edit()
      .set("Proxy-Authorization", 'Digest username="bob", response="0123"')
      .body("gr\xfc\xdfe", "text/plain")
      .build();
    await client.all(client.beginRequest(request));
    await world.simulation.advance(10);
    const [came, left] = got.filter((each) => each.callId === request.callId);
    expect(came!.raw).toContain('Proxy-Authorization: Digest username="bob", response="0123"\r\n');
    expect(came!.raw.endsWith("\r\n\r\ngr\xfc\xdfe")).toBe(true);
    expect(came!.raw).not.toContain("received=");
    expect(left!.raw.endsWith("\r\n\r\ngr\xfc\xdfe")).toBe(true);
    expect(left!.raw.match(/^Via:/gm)).toHaveLength(2);
  });

  it("takes the Call-ID from the header, long or compact, never from the body", async () => {
    const got = await setUp();
    const tell = (raw: string): void => world.proxies[0]!.telemetry.emit("message", { ...EVENT, direction: "in", raw });
    tell("OPTIONS sip:a SIP/2.0\r\ni : short \r\n\r\n");
    tell("OPTIONS sip:a SIP/2.0\r\nCALL-ID:long\r\n\r\n");
    tell(`OPTIONS sip:a SIP/2.0\r\nCall-ID: ${"x".repeat(65_400)}\r\n\r\n`);
    tell("OPTIONS sip:a SIP/2.0\r\nX: y\r\n\r\nCall-ID: none\r\n");
    await world.simulation.advance(10);
    expect(got.filter((each) => each.raw.startsWith("OPTIONS sip:a ")).map((each) => each.callId)).toEqual([
      "short",
      "long",
      "x".repeat(256),
      "",
    ]);
  });

  it("counts what it cannot send, says so once, and routing goes on", async () => {
    await setUp();
    const { telemetry, told } = world.proxies[0]!;
    for (let i = 0; i < 3; i++) telemetry.emit("message", { ...EVENT, direction: "out", remoteHost: "no address" });
    expect(capture!.counts().errors).toBe(3);
    expect(told.warning).toEqual([
      { what: "the capture's collector cannot be reached", detail: "no address is no IP address" },
    ]);
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
  });

  it("that is stopped leaves nobody listening: whole messages are not even built into events", async () => {
    const got = await setUp();
    const { telemetry } = world.proxies[0]!;
    expect(telemetry.wants("message")).toBe(true);
    await world.simulation.finish(capture!.stop());
    const before = got.length;
    expect(telemetry.wants("message")).toBe(false);
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
    await world.simulation.advance(10);
    expect(got.length).toBe(before);
  });
});

describe("the message event", () => {
  it("of a connection has the connection's own ends, not the listen point's", async () => {
    world = await createWorld({
      servers: { east: { script: always(200) } },
      uris: { east: "sip:127.0.0.11:5060;transport=tcp" },
    });
    const events: Events["message"][] = [];
    world.proxies[0]!.telemetry.on("message", (event) => events.push(event));
    expect(await world.client("127.0.0.50").status("MESSAGE", BOB)).toBe(200);
    const [asked, answered] = events.filter((each) => each.transport === "tcp" && each.raw.includes("bob@example.com"));
    expect(asked).toMatchObject({
      direction: "out",
      localHost: "127.0.0.1",
      remoteHost: "127.0.0.11",
      remotePort: 5060,
    });
    expect(asked!.localPort).not.toBe(5060);
    expect(answered).toMatchObject({ direction: "in", localPort: asked!.localPort, remotePort: 5060 });
  });
});

const EVENT: Omit<Events["message"], "direction"> = {
  transport: "udp",
  localHost: "127.0.0.1",
  localPort: 5060,
  remoteHost: "127.0.0.50",
  remotePort: 5060,
  raw: "OPTIONS sip:a SIP/2.0\r\n\r\n",
};
