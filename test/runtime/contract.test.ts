import { describe, expect, onTestFinished, test } from "vitest";
import type { UdpSocket } from "../../src/runtime/runtime.ts";
import { connected, HAS_IPV6, PATIENCE, type Pair, realPair, simulatedPair } from "../support/runtimes.ts";

const MACHINES: readonly [name: string, make: () => Pair][] = [
  ["real, IPv4", () => realPair("127.0.0.1")],
  ["real, IPv6", () => realPair("::1")],
  ["simulated, IPv4", () => simulatedPair("10.0.0.1", "10.0.0.2")],
  ["simulated, IPv6", () => simulatedPair("fd00::1", "fd00::2")],
];

describe.each(MACHINES.filter(([name]) => HAS_IPV6 || name !== "real, IPv6"))("every runtime: %s", (_name, make) => {
  test("timers fire in the order of their delays, never synchronously", async () => {
    const pair = make();
    const { timers, clock } = pair.one;
    const fired: string[] = [];
    const due = new Map<string, number>();
    const set = (ms: number): void => {
      timers.after(ms, () => fired.push(`${ms}`));
      due.set(`${ms}`, clock.now() + Math.max(0, ms));
    };
    set(30);
    set(10);
    set(0);
    set(-5);
    timers.soon(() => fired.push("soon"));
    expect(fired).toEqual([]);
    await pair.until(() => fired.length === 5);
    expect([...fired].sort()).toEqual(["-5", "0", "10", "30", "soon"]);
    // A real machine may be away between two lines, so that order goes by when each was due, give or take Node's millisecond.
    const dues = fired.flatMap((each) => due.get(each) ?? []);
    for (const [i, each] of dues.entries()) expect(each).toBeGreaterThan((dues[i - 1] ?? 0) - 2);
  });

  test("a timer fires not before its time by the runtime's own clock", async () => {
    const pair = make();
    const { timers, clock } = pair.one;
    const start = clock.now();
    let waited = 0;
    timers.after(20, () => {
      waited = clock.now() - start;
    });
    await pair.until(() => waited > 0);
    // Node's timers count whole milliseconds, so one may come that much early.
    expect(waited).toBeGreaterThanOrEqual(19);
  });

  test("a cancelled timer does not fire; cancelling again, or after it fired, is no error", async () => {
    const pair = make();
    const { timers } = pair.one;
    let fired = 0;
    const doomed = timers.after(5, () => fired++);
    doomed.cancel();
    doomed.cancel();
    const kept = timers.after(10, () => fired++);
    await pair.until(() => fired === 1);
    kept.cancel();
    expect(fired).toBe(1);
  });

  test("a timer of thirty days does not fire at once", async () => {
    const pair = make();
    let early = false;
    const long = pair.one.timers.after(30 * 86_400_000, () => {
      early = true;
    });
    let done = false;
    pair.one.timers.after(20, () => {
      done = true;
    });
    await pair.until(() => done);
    long.cancel();
    expect(early).toBe(false);
  });

  test("random integers stay below their limit, tokens are letters and digits", () => {
    const { random } = make().one;
    const drawn = Array.from({ length: 300 }, () => random.integer(3));
    expect(new Set(drawn)).toEqual(new Set([0, 1, 2]));
    expect(random.integer(2 ** 48)).toBeLessThan(2 ** 48);
    expect(random.integer(1)).toBe(0);
    expect(() => random.integer(0)).toThrow(RangeError);
    expect(random.token(40)).toMatch(/^[a-z0-9]{40}$/);
    expect(random.token(20)).not.toBe(random.token(20));
    expect(random.bytes(7)).toHaveLength(7);
  });

  test("a datagram arrives as it was sent, with the address to answer to", async () => {
    const pair = make();
    const heard: string[] = [];
    const echo: UdpSocket = await pair.other.network.udp(
      { host: pair.otherHost, port: 0 },
      {
        receive: (bytes, host, port) => echo.send(bytes, host, port),
        failed: (error) => heard.push(error.message),
      },
    );
    onTestFinished(() => echo.close());
    const socket = await pair.one.network.udp(
      { host: pair.oneHost, port: 0 },
      {
        receive: (bytes, host, port) => heard.push(`${Buffer.from(bytes).toString("hex")} ${host} ${port}`),
        failed: (error) => heard.push(error.message),
      },
    );
    onTestFinished(() => socket.close());
    expect(socket.local.host).toBe(pair.oneHost);
    expect(socket.local.port).toBeGreaterThan(0);
    socket.send(Uint8Array.of(0, 255, 13, 10), echo.local.host, echo.local.port);
    await pair.until(() => heard.length === 1);
    expect(heard).toEqual([`00ff0d0a ${pair.otherHost} ${echo.local.port}`]);
  });

  test("received bytes are the receiver's to keep", async () => {
    const pair = make();
    const kept: Uint8Array[] = [];
    const receiver = await pair.other.network.udp(
      { host: pair.otherHost, port: 0 },
      { receive: (bytes) => kept.push(bytes), failed: () => {} },
    );
    onTestFinished(() => receiver.close());
    const sender = await pair.one.network.udp({ host: pair.oneHost, port: 0 }, { receive: () => {}, failed: () => {} });
    onTestFinished(() => sender.close());
    const sent = Array.from({ length: 20 }, (_, index) => `message ${index}`);
    for (const text of sent) sender.send(Buffer.from(text), receiver.local.host, receiver.local.port);
    await pair.until(() => kept.length === 20);
    expect(kept.map((bytes) => Buffer.from(bytes).toString()).sort()).toEqual([...sent].sort());
  });

  test("a datagram that cannot be sent is reported with its target, later, and throws nothing", async () => {
    const pair = make();
    const failed: string[] = [];
    const socket = await pair.one.network.udp(
      { host: pair.oneHost, port: 0 },
      { receive: () => {}, failed: (_error, host, port) => failed.push(`${host} ${port}`) },
    );
    onTestFinished(() => socket.close());
    socket.send(new Uint8Array(70_000), pair.otherHost, 5060);
    socket.send(new Uint8Array(10), pair.otherHost, 70_000);
    expect(failed).toEqual([]);
    await pair.until(() => failed.length === 2);
    expect(failed.sort()).toEqual([`${pair.otherHost} 5060`, `${pair.otherHost} 70000`]);
  });

  test("a port that is taken, or an address of another machine, cannot be bound", async () => {
    const pair = make();
    const handler = { receive: () => {}, failed: () => {} };
    const socket = await pair.one.network.udp({ host: pair.oneHost, port: 0 }, handler);
    onTestFinished(() => socket.close());
    await expect(pair.one.network.udp(socket.local, handler)).rejects.toThrow("EADDRINUSE");
    const elsewhere = pair.oneHost.includes(":") ? "2001:db8::9" : "192.0.2.9";
    await expect(pair.one.network.udp({ host: elsewhere, port: 0 }, handler)).rejects.toThrow("EADDRNOTAVAIL");
    const options = { kind: "tcp", address: { host: elsewhere, port: 0 }, maxConnections: 1 } as const;
    await expect(pair.one.network.listen(options, () => {})).rejects.toThrow("EADDRNOTAVAIL");
  });

  test("a closed UDP socket hears and sends nothing more; closing twice is no error", async () => {
    const pair = make();
    const heard: string[] = [];
    const handler = { receive: (bytes: Uint8Array) => heard.push(Buffer.from(bytes).toString()), failed: () => {} };
    const first = await pair.one.network.udp({ host: pair.oneHost, port: 0 }, handler);
    const second = await pair.other.network.udp({ host: pair.otherHost, port: 0 }, handler);
    await first.close();
    await first.close();
    first.send(Buffer.from("from the dead"), second.local.host, second.local.port);
    second.send(Buffer.from("to the dead"), first.local.host, first.local.port);
    second.send(Buffer.from("to itself"), second.local.host, second.local.port);
    await pair.until(() => heard.length > 0);
    await second.close();
    expect(heard).toEqual(["to itself"]);
  });

  test("TCP carries bytes both ways in order", async () => {
    const pair = make();
    const { client, server } = await connected(pair, "tcp");
    const big = "0123456789".repeat(20_000);
    client.say("first ");
    client.say("second ");
    client.say(big);
    await pair.until(() => server.text.length === 13 + big.length);
    expect(server.text).toBe(`first second ${big}`);
    server.say("answer");
    await pair.until(() => client.text === "answer");
    expect(client.connection.remote.port).toBe(server.connection.local.port);
    expect(client.connection.local).toEqual(server.connection.remote);
    expect(client.connection.peerNames).toEqual([]);
    expect(client.connection.buffered).toBe(0);
  });

  test("WebSocket messages keep their bounds and their bytes, text or not", async () => {
    const pair = make();
    const { client, server } = await connected(pair, "ws");
    const messages = ["one", "two \xc3\xa4", "not UTF-8 \xff\xfe", "x".repeat(70_000), "\r\n\r\n"];
    for (const message of messages) client.say(message);
    await pair.until(() => server.chunks.length === messages.length);
    expect(server.chunks.map((chunk) => Buffer.from(chunk).toString("latin1"))).toEqual(messages);
    for (const message of messages) server.say(message);
    await pair.until(() => client.chunks.length === messages.length);
    expect(client.chunks.map((chunk) => Buffer.from(chunk).toString("latin1"))).toEqual(messages);
  });

  describe.each(["tcp", "ws"] as const)("%s", (kind) => {
    test("end() delivers what was sent, then both sides hear exactly one orderly end", async () => {
      const pair = make();
      const { client, server } = await connected(pair, kind);
      client.say("last words");
      client.connection.end();
      client.connection.end();
      expect(client.ends).toEqual([]);
      await pair.until(() => client.ends.length > 0 && server.ends.length > 0);
      client.connection.destroy();
      server.connection.end();
      client.say("too late");
      expect(server.text).toBe("last words");
      expect(client.ends).toEqual([undefined]);
      expect(server.ends).toEqual([undefined]);
    });

    test("destroy() ends both sides, each told exactly once and not synchronously", async () => {
      const pair = make();
      const { client, server } = await connected(pair, kind);
      server.connection.destroy();
      expect(server.ends).toEqual([]);
      await pair.until(() => client.ends.length > 0 && server.ends.length > 0);
      server.connection.destroy();
      client.connection.end();
      expect(client.ends).toHaveLength(1);
      expect(server.ends).toEqual([undefined]);
    });

    test("nothing is lost between connecting and setting a handler", async () => {
      const pair = make();
      const listener = await pair.other.network.listen(
        { kind, address: { host: pair.otherHost, port: 0 }, maxConnections: 10 },
        (connection) => {
          connection.handler = { data: () => {}, closed: () => {} };
          connection.send(Buffer.from("welcome"));
        },
      );
      onTestFinished(() => listener.close());
      const connecting = pair.one.network.connect({ kind, remote: listener.local, timeoutMs: PATIENCE });
      const connection = await pair.finish(connecting);
      let waited = false;
      pair.one.timers.after(30, () => {
        waited = true;
      });
      await pair.until(() => waited);
      let text = "";
      let ends = 0;
      connection.handler = {
        data: (bytes) => {
          text += Buffer.from(bytes).toString();
        },
        closed: () => ends++,
      };
      await pair.until(() => text === "welcome");
      connection.end();
      await pair.until(() => ends === 1);
    });

    test("connecting where nobody listens rejects with a TransportError", async () => {
      const pair = make();
      const listener = await pair.other.network.listen(
        { kind, address: { host: pair.otherHost, port: 0 }, maxConnections: 10 },
        () => {},
      );
      await listener.close();
      const attempt = pair.one.network.connect({ kind, remote: listener.local, timeoutMs: PATIENCE });
      await expect(pair.finish(attempt)).rejects.toMatchObject({ name: "TransportError", code: "transport" });
      await expect(attempt).rejects.toThrow("ECONNREFUSED");
    });

    test("one connection over the limit is closed at once, the others live on", async () => {
      const pair = make();
      const listener = await pair.other.network.listen(
        { kind, address: { host: pair.otherHost, port: 0 }, maxConnections: 1 },
        (connection) => {
          connection.handler = { data: (bytes) => connection.send(bytes), closed: () => {} };
        },
      );
      onTestFinished(() => listener.close());
      const connect = () =>
        pair.finish(pair.one.network.connect({ kind, remote: listener.local, timeoutMs: PATIENCE }));
      const kept = await connect();
      let answers = 0;
      let keptEnded = false;
      kept.handler = {
        data: () => answers++,
        closed: () => {
          keptEnded = true;
        },
      };
      let refused = false;
      await connect().then(
        (connection) => {
          connection.handler = {
            data: () => {},
            closed: () => {
              refused = true;
            },
          };
        },
        () => {
          refused = true;
        },
      );
      await pair.until(() => refused);
      kept.send(Buffer.from("still here"));
      await pair.until(() => answers === 1);
      expect(keptEnded).toBe(false);
      kept.end();
      await pair.until(() => keptEnded);
    });

    test("a closed listener accepts no more, and its connections live on", async () => {
      const pair = make();
      const ended: string[] = [];
      const listener = await pair.other.network.listen(
        { kind, address: { host: pair.otherHost, port: 0 }, maxConnections: 5 },
        (connection) => {
          connection.handler = { data: (bytes) => connection.send(bytes), closed: () => ended.push("server") };
        },
      );
      const connection = await pair.finish(
        pair.one.network.connect({ kind, remote: listener.local, timeoutMs: PATIENCE }),
      );
      let text = "";
      connection.handler = {
        data: (bytes) => {
          text += Buffer.from(bytes).toString();
        },
        closed: () => ended.push("client"),
      };
      await listener.close();
      await listener.close();
      connection.send(Buffer.from("anyone?"));
      await pair.until(() => text === "anyone?");
      expect(ended).toEqual([]);
      connection.end();
      await pair.until(() => ended.length === 2);
    });
  });
});
