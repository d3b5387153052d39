import { get } from "node:http";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { createRealRuntime } from "../../src/runtime/real.ts";
import type { Connection, ListenOptions, Resolver, StreamKind } from "../../src/runtime/runtime.ts";
import { zoneResolver } from "../../src/runtime/zone.ts";
import { createAuthority } from "../support/certificates.ts";
import { expectNoLeaks, leakChecked } from "../support/leak.ts";
import { Heard } from "../support/runtimes.ts";

const HOST = "127.0.0.1";

/** A listener of the real runtime, and what it accepted. */
async function listen(kind: StreamKind, more: Partial<ListenOptions> = {}) {
  const runtime = leakChecked(createRealRuntime());
  const accepted: Heard[] = [];
  const listener = await runtime.network.listen(
    { kind, address: { host: HOST, port: 0 }, maxConnections: 10, ...more },
    (connection: Connection) => accepted.push(new Heard(connection)),
  );
  onTestFinished(async () => {
    await listener.close();
    for (const heard of accepted) heard.connection.destroy();
  });
  return { runtime, accepted, port: listener.local.port, listener };
}

/** A plain TCP client. */
async function dial(port: number): Promise<{ socket: Socket; text: () => string; closed: Promise<void> }> {
  const socket = connectTcp(port, HOST);
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  onTestFinished(() => void socket.destroy());
  return { socket, text: () => text, closed };
}

/** How a WebSocket client that offers these subprotocols fares. */
function offer(port: number, subprotocols: string[]): Promise<string> {
  const socket = new WebSocket(`ws://${HOST}:${port}/`, subprotocols);
  return new Promise((resolve) => {
    socket.on("error", (error) => resolve(error.message));
    socket.on("open", () => {
      resolve(`open ${socket.protocol}`);
      socket.close();
    });
  });
}

describe("WebSocket (RFC 7118)", () => {
  test("4.1: a client must offer the subprotocol sip, among others if it likes", async () => {
    const { port, accepted } = await listen("ws");
    expect(await offer(port, ["xmpp"])).toContain("400");
    expect(await offer(port, [])).toContain("400");
    expect(await offer(port, ["xmpp", "sip"])).toBe("open sip");
    expect(accepted).toHaveLength(1);
  });

  test("4.1: a server that does not choose sip is no peer for us", async () => {
    const runtime = leakChecked(createRealRuntime());
    const server = new WebSocketServer({ port: 0, host: HOST, handleProtocols: () => "xmpp" });
    await new Promise<void>((resolve) => server.once("listening", () => resolve()));
    onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
    const { port } = server.address() as { port: number };
    const attempt = runtime.network.connect({ kind: "ws", remote: { host: HOST, port }, timeoutMs: 30_000 });
    await expect(attempt).rejects.toMatchObject({ code: "transport" });
  });

  test("5: text leaves as text, what is no UTF-8 as binary; both are accepted", async () => {
    const { port, accepted, runtime } = await listen("ws");
    const client = new WebSocket(`ws://${HOST}:${port}/`, ["sip"]);
    const heard: string[] = [];
    client.on("message", (data: Buffer, binary) =>
      heard.push(`${binary ? "binary" : "text"} ${data.toString("latin1")}`),
    );
    await new Promise<void>((resolve) => client.once("open", () => resolve()));
    client.send("text");
    client.send(Buffer.from("binary"));
    await waitFor(() => accepted[0]?.chunks.length === 2);
    expect(accepted[0]?.text).toBe("textbinary");
    accepted[0]?.say("caf\xc3\xa9");
    accepted[0]?.say("caf\xe9");
    await waitFor(() => heard.length === 2);
    expect(heard).toEqual(["text caf\xc3\xa9", "binary caf\xe9"]);
    client.close();
    await waitFor(() => accepted[0]?.ends.length === 1);
    expect(runtime.leaks()).toHaveLength(1);
  });

  test("6: a peer that answers no ping is cut off with an error", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const { port, accepted } = await listen("ws");
    const clients = [true, false].map((autoPong) => new WebSocket(`ws://${HOST}:${port}/`, ["sip"], { autoPong }));
    for (const client of clients) await new Promise<void>((resolve) => client.once("open", () => resolve()));
    await waitFor(() => accepted.length === 2);
    const pinged = clients.map((client) => new Promise<void>((resolve) => client.once("ping", () => resolve())));
    vi.advanceTimersByTime(30_000);
    await Promise.all(pinged);
    // What comes after the pong tells that the pong has come.
    clients[0]?.send("alive");
    await waitFor(() => accepted.some(({ text }) => text === "alive"));
    vi.advanceTimersByTime(30_000);
    await waitFor(() => accepted.some(({ ends }) => ends.length === 1));
    clients[0]?.close();
    await waitFor(() => accepted.every(({ ends }) => ends.length === 1));
    for (const { text, ends } of accepted) {
      expect(ends[0]?.message).toBe(text === "alive" ? undefined : "The peer does not answer pings.");
    }
  });

  test("a plain HTTP request is told to upgrade", async () => {
    const { port } = await listen("ws");
    const status = await new Promise<number | undefined>((resolve) => {
      get({ host: HOST, port, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
    });
    expect(status).toBe(426);
  });

  test("a message far over SIP's limit ends the connection with an error, not the process", async () => {
    const { port, accepted } = await listen("ws");
    const client = new WebSocket(`ws://${HOST}:${port}/`, ["sip"]);
    client.on("error", () => {});
    await new Promise<void>((resolve) => client.once("open", () => resolve()));
    const code = new Promise<number>((resolve) => client.once("close", resolve));
    client.send("x".repeat(200_000));
    expect(await code).toBe(1009);
    await waitFor(() => accepted[0]?.ends.length === 1);
    expect(accepted[0]?.ends[0]).toBeInstanceOf(Error);
    expect(accepted[0]?.chunks).toEqual([]);
  });
});

describe("peers that misbehave", () => {
  const { cert, key } = createAuthority("any").issue({ dns: ["a.example"] });
  const tls = { cert, key, verify: false };

  test.each(["tls", "ws", "wss"] as const)(
    "garbage instead of a %s handshake hands out no connection",
    async (kind) => {
      const { port, accepted } = await listen(kind, { tls });
      const { socket, closed } = await dial(port);
      socket.write("\x00\xff garbage \r\n\r\n");
      await closed;
      expect(accepted).toEqual([]);
    },
  );

  test.each(["tls", "ws", "wss"] as const)("a half-open %s handshake ends with its listener", async (kind) => {
    const { port, accepted, listener } = await listen(kind, { tls });
    const { closed } = await dial(port);
    await listener.close();
    await closed;
    expect(accepted).toEqual([]);
  });

  test("a reset is told as the error of the one `closed`", async () => {
    const { port, accepted } = await listen("tcp");
    const { socket } = await dial(port);
    await waitFor(() => accepted.length === 1);
    socket.resetAndDestroy();
    await waitFor(() => accepted[0]?.ends.length === 1);
    expect(accepted[0]?.ends[0]?.message).toContain("ECONNRESET");
  });

  test.each(["tls", "ws", "wss"] as const)(
    "a server that never answers the %s handshake: no answer in time",
    async (kind) => {
      const runtime = leakChecked(createRealRuntime());
      const sockets: Socket[] = [];
      const server = createServer((socket) => sockets.push(socket.on("error", () => {})));
      await new Promise<void>((resolve) => server.listen(0, HOST, () => resolve()));
      onTestFinished(() => {
        for (const socket of sockets) socket.destroy();
        server.close();
      });
      const { port } = server.address() as { port: number };
      const attempt = runtime.network.connect({ kind, remote: { host: HOST, port }, timeoutMs: 50 });
      await expect(attempt).rejects.toMatchObject({ code: "transport" });
    },
  );

  test("a peer that reads nothing shows in `buffered`", async () => {
    const { port, accepted } = await listen("tcp");
    const { socket } = await dial(port);
    socket.pause();
    await waitFor(() => accepted.length === 1);
    for (let index = 0; index < 200; index++) accepted[0]?.connection.send(Buffer.alloc(100_000));
    await waitFor(() => (accepted[0]?.connection.buffered ?? 0) > 1_000_000);
    accepted[0]?.connection.destroy();
    await waitFor(() => accepted[0]?.ends.length === 1);
  });

  test("a socket of a peer that never closes its side is cut off some time after end()", async () => {
    const runtime = leakChecked(createRealRuntime());
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => {}).resume());
    await new Promise<void>((resolve) => server.listen(0, HOST, () => resolve()));
    const { port } = server.address() as { port: number };
    const heard = new Heard(
      await runtime.network.connect({ kind: "tcp", remote: { host: HOST, port }, timeoutMs: 30_000 }),
    );
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    heard.connection.end();
    vi.advanceTimersByTime(5000);
    vi.useRealTimers();
    await waitFor(() => heard.ends.length === 1);
    expect(heard.ends).toEqual([undefined]);
    server.close();
  });
});

test("names may come from a zone, and others from a resolver behind it", async () => {
  const answers: Resolver = {
    naptr: async () => [],
    srv: async () => [],
    a: async (name) => [`asked for ${name}`],
    aaaa: async () => [],
  };
  const resolver = zoneResolver({ "east.example.com": { a: ["127.0.0.11"] } }, answers);
  const { network } = createRealRuntime({ resolver });
  expect(await network.resolver.a("East.example.com")).toEqual(["127.0.0.11"]);
  expect(await network.resolver.aaaa("east.example.com")).toEqual([]);
  expect(await network.resolver.a("west.example.com")).toEqual(["asked for west.example.com"]);
});

test("RFC 6761 6.3: localhost is the loopback address, whatever DNS says", async () => {
  const { network } = createRealRuntime();
  expect(await network.resolver.a("localhost")).toEqual(["127.0.0.1"]);
  expect(await network.resolver.aaaa("east.localhost.")).toEqual(["::1"]);
});

test("the leak check finds a timer, a socket, a listener, and nothing once they are gone", async () => {
  const runtime = createRealRuntime();
  const timer = runtime.timers.after(60_000, () => {});
  await expect(expectNoLeaks(runtime, 20)).rejects.toThrow("still open");
  const socket = await runtime.network.udp({ host: HOST, port: 0 }, { receive: () => {}, failed: () => {} });
  const listener = await runtime.network.listen(
    { kind: "tcp", address: { host: HOST, port: 0 }, maxConnections: 1 },
    () => {},
  );
  expect(runtime.leaks()).toEqual([
    `udp socket ${HOST}:${socket.local.port}`,
    `tcp listener ${HOST}:${listener.local.port}`,
    "1 timer",
  ]);
  timer.cancel();
  await socket.close();
  await listener.close();
  await expectNoLeaks(runtime);
});

/** For what the system does in its own time. */
async function waitFor(condition: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("What was waited for did not come about.");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
