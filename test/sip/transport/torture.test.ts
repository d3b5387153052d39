import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { hasShared, sharedBytes, sharedPath } from "../../torture/shared.ts";
import { connect, PEER, request, TCP, UDP, UdpPeer, World } from "./fixture.ts";

const FOLDER = "data/rfc4475";
const files = hasShared(FOLDER) ? readdirSync(sharedPath(FOLDER)).filter((each) => each.endsWith(".dat")) : [];

describe.skipIf(files.length === 0)(
  "RFC 4475 torture messages through the layer (skipped without the shared data)",
  () => {
    it.each(files)(
      "%s by UDP and TCP: delivered or counted, at most one answer, and the layer lives on",
      async (file) => {
        const world = await new World({ points: [UDP, TCP] }).start();
        const text = sharedBytes(`${FOLDER}/${file}`);
        const udp = await new UdpPeer().open(world.peer, PEER, 5060);
        udp.send(text);
        await world.sim.advance(10);
        const heard = () => world.received.length + world.events("malformed").length + world.events("stray").length;
        expect(heard()).toBe(1);
        expect(udp.got.length).toBeLessThanOrEqual(1);
        const stream = await connect(world, "tcp");
        stream.send(text);
        await world.sim.advance(40_000);
        udp.send(request());
        await world.sim.advance(10);
        expect(world.last.message.header("Subject")).toBeUndefined();
        expect(world.request.requestUri).toBe("sip:bob@example.com");
        expect(await world.stop()).toEqual([]);
      },
    );
  },
);
