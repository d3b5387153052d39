import { describe, expect, test } from "vitest";
import type { UdpSocket } from "../../src/runtime/runtime.ts";
import { createSimulation, type Faults, type SimulatedRuntime, type Simulation } from "../../src/runtime/simulated.ts";
import { leakChecked } from "../support/leak.ts";
import { Heard } from "../support/runtimes.ts";

const ROUGH: Partial<Faults> = { loss: 0.2, delay: [1, 30], duplicate: 0.1, reorder: 0.2, split: 0.5 };

/** Two machines, a socket on each; what the second one hears is kept. */
async function datagrams(simulation: Simulation) {
  const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
  const heard: string[] = [];
  const sender = await one.network.udp({ host: "10.0.0.1", port: 5060 }, { receive: () => {}, failed: () => {} });
  const receiver = await other.network.udp(
    { host: "10.0.0.2", port: 5060 },
    { receive: (bytes) => heard.push(Buffer.from(bytes).toString()), failed: () => {} },
  );
  const send = (text: string) => sender.send(Buffer.from(text), "10.0.0.2", 5060);
  const close = async () => {
    await sender.close();
    await receiver.close();
  };
  return { one, other, heard, send, close };
}

/** A TCP connection from the first machine to the second. */
async function stream(simulation: Simulation, one: SimulatedRuntime, other: SimulatedRuntime) {
  const accepted: Heard[] = [];
  const listener = await other.network.listen(
    { kind: "tcp", address: { host: other.addresses[0] as string, port: 5060 }, maxConnections: 100 },
    (connection) => accepted.push(new Heard(connection)),
  );
  const connecting = one.network.connect({ kind: "tcp", remote: listener.local, timeoutMs: 30_000 });
  const client = new Heard(await simulation.finish(connecting));
  await simulation.run(() => accepted.length === 1);
  return { client, server: accepted[0] as Heard, listener };
}

describe("replay", () => {
  /** Timers, datagrams that are echoed at random, a stream, promises between them: whatever happened, in order. */
  async function story(seed: number): Promise<{ trace: string[]; fingerprint: string }> {
    const trace: string[] = [];
    const simulation = createSimulation({ seed, faults: ROUGH, trace: (line) => trace.push(line) });
    const { one, other, heard, send } = await datagrams(simulation);
    const { client, server } = await stream(simulation, one, other);
    for (let round = 0; round < 30; round++) {
      one.timers.after(one.random.integer(500), async () => {
        send(one.random.token(1 + one.random.integer(8)));
        await one.network.resolver.a("nowhere.example");
        client.say(`after the answer ${simulation.now} ${heard.length}`);
      });
    }
    other.timers.after(250, () => server.say(other.random.token(200)));
    await simulation.advance(5000);
    trace.push(client.text, server.text, ...heard);
    return { trace, fingerprint: simulation.fingerprint };
  }

  test("the same seed gives the same run, event by event and byte by byte", async () => {
    for (const seed of [1, 2, 2 ** 40 + 7]) {
      const first = await story(seed);
      expect(await story(seed)).toEqual(first);
      expect(first.trace.length).toBeGreaterThan(50);
    }
  });

  test("another seed gives another run", async () => {
    const prints = await Promise.all([1, 2, 3, 4, 2 ** 32 + 1].map(async (seed) => (await story(seed)).fingerprint));
    expect(new Set(prints).size).toBe(prints.length);
  });

  test("chance of one machine does not depend on what others draw", async () => {
    const draw = (before: number) => {
      const simulation = createSimulation({ seed: 9 });
      const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
      one.random.bytes(before);
      return other.random.token(20);
    };
    expect(draw(0)).toBe(draw(1000));
  });
});

describe("time", () => {
  test("passes only in the simulation, and jumps from event to event", async () => {
    const simulation = leakChecked(createSimulation({ seed: 1, wall: 1000 }));
    const { timers, clock } = simulation.runtime(["10.0.0.1"]);
    const fired: number[] = [];
    for (const ms of [86_400_000, 32_000, 500, 0.25]) timers.after(ms, () => fired.push(clock.now()));
    await simulation.run(32_000);
    expect(fired).toEqual([0.25, 500, 32_000]);
    expect(clock.wall()).toBe(33_000);
    await simulation.idle(100_000_000);
    expect(simulation.now).toBe(86_400_000);
  });

  test("timers of the same moment fire in the order they were set, and soon() after them", async () => {
    const simulation = leakChecked(createSimulation({ seed: 1 }));
    const { timers } = simulation.runtime(["10.0.0.1"]);
    const fired: number[] = [];
    timers.after(10, () => {
      fired.push(1);
      timers.soon(() => fired.push(4));
    });
    timers.after(10, () => fired.push(2));
    timers.after(10, () => fired.push(3));
    await simulation.advance(10);
    expect(fired).toEqual([1, 2, 3, 4]);
  });

  test("all promises an event settles go on before the next event", async () => {
    const simulation = leakChecked(createSimulation({ seed: 1 }));
    const { timers } = simulation.runtime(["10.0.0.1"]);
    const order: string[] = [];
    timers.after(10, async () => {
      for (let turn = 0; turn < 100; turn++) await Promise.resolve();
      await new Promise<void>((resolve) => process.nextTick(resolve));
      order.push("promises");
    });
    timers.after(10, () => order.push("timer"));
    await simulation.advance(10);
    expect(order).toEqual(["promises", "timer"]);
  });

  test("many cancelled timers cost no memory and disturb no order", async () => {
    const simulation = leakChecked(createSimulation({ seed: 1 }));
    const { timers, random } = simulation.runtime(["10.0.0.1"]);
    const fired: number[] = [];
    for (let index = 0; index < 20_000; index++) {
      const at = random.integer(10_000);
      const timer = timers.after(at, () => fired.push(at));
      if (index % 100 !== 0) timer.cancel();
    }
    await simulation.idle();
    expect(fired).toHaveLength(200);
    expect(fired).toEqual([...fired].sort((one, other) => one - other));
  });

  test("what an event throws fails the run, and so does a condition that never comes", async () => {
    const simulation = createSimulation({ seed: 7 });
    const { timers } = simulation.runtime(["10.0.0.1"]);
    timers.after(5, () => {
      throw new Error("broken");
    });
    await expect(simulation.advance(10)).rejects.toThrow("broken");
    await expect(simulation.run(() => false)).rejects.toThrow(/nothing is left.*seed 7/);
    timers.after(50_000, () => {});
    await expect(simulation.run(() => false, 100)).rejects.toThrow("100 ms have passed");
    await expect(simulation.idle(100)).rejects.toThrow("10.0.0.1: 1 timer");
  });

  test("events that breed events without time passing are stopped", async () => {
    const simulation = createSimulation({ seed: 1 });
    const { timers } = simulation.runtime(["10.0.0.1"]);
    const again = () => timers.soon(again);
    again();
    await expect(simulation.advance(1)).rejects.toThrow("Time stands still");
  });
});

describe("datagrams", () => {
  test("a perfect network loses nothing and keeps the order", async () => {
    const simulation = leakChecked(createSimulation({ seed: 5, faults: { delay: [1, 100] } }));
    const { heard, send, close } = await datagrams(simulation);
    const sent = Array.from({ length: 200 }, (_, index) => `${index}`);
    for (const text of sent) send(text);
    await simulation.advance(1000);
    expect(heard).toEqual(sent);
    await close();
  });

  test.each([
    ["loss", { loss: 0.3 }],
    ["duplicate", { duplicate: 0.3 }],
    ["reorder", { reorder: 0.3 }],
  ] as const)("%s does what it says and nothing else", async (name, faults) => {
    const simulation = leakChecked(createSimulation({ seed: 5, faults: { delay: [1, 2], ...faults } }));
    const { heard, send, close } = await datagrams(simulation);
    const sent = Array.from({ length: 1000 }, (_, index) => index);
    for (const index of sent) send(`${index}`);
    await simulation.advance(1000);
    const distinct = new Set(heard).size;
    const inOrder = heard.every((text, index) => index === 0 || Number(text) >= Number(heard[index - 1]));
    if (name === "loss") expect(distinct).toBeGreaterThan(600);
    if (name === "loss") expect(distinct).toBeLessThan(800);
    else expect(distinct).toBe(1000);
    if (name === "duplicate") expect(heard.length).toBeGreaterThan(1200);
    else expect(heard.length).toBe(distinct);
    expect(inOrder).toBe(name !== "reorder");
    await close();
  });

  test("the delay of each stays within its range", async () => {
    const simulation = leakChecked(createSimulation({ seed: 5, faults: { delay: [20, 30] } }));
    const { heard, send, close } = await datagrams(simulation);
    send("x");
    await simulation.run(19.9);
    expect(heard).toEqual([]);
    await simulation.run(30);
    expect(heard).toEqual(["x"]);
    await close();
  });

  test("a link has faults of its own", async () => {
    const simulation = leakChecked(createSimulation({ seed: 5 }));
    const { heard, send, close } = await datagrams(simulation);
    simulation.link("10.0.0.1", "10.0.0.2", { loss: 1 });
    send("lost");
    await simulation.advance(100);
    simulation.link("10.0.0.1", "10.0.0.2", {});
    send("here");
    await simulation.advance(100);
    expect(heard).toEqual(["here"]);
    await close();
  });

  test("a partition separates its groups until it heals, and leaves others alone", async () => {
    const simulation = leakChecked(createSimulation({ seed: 5 }));
    const { heard, send, close } = await datagrams(simulation);
    simulation.partition([["10.0.0.1", "10.0.0.3"], ["10.0.0.2"]]);
    send("cut");
    await simulation.advance(100);
    simulation.partition([["10.0.0.1"], ["10.0.0.3"]]);
    send("other groups");
    await simulation.advance(100);
    simulation.heal();
    send("healed");
    await simulation.advance(100);
    expect(heard).toEqual(["other groups", "healed"]);
    await close();
  });

  test("loopback and wildcard addresses work as on a real machine", async () => {
    const simulation = leakChecked(createSimulation({ seed: 5, faults: { loss: 1 } }));
    const runtime = simulation.runtime(["10.0.0.1", "fd00::1"]);
    const heard: string[] = [];
    const any: UdpSocket = await runtime.network.udp(
      { host: "0.0.0.0", port: 5060 },
      { receive: (bytes, host, port) => any.send(bytes, host, port), failed: () => {} },
    );
    const local = await runtime.network.udp(
      { host: "127.0.0.1", port: 0 },
      { receive: (bytes, host, port) => heard.push(`${Buffer.from(bytes)} ${host} ${port}`), failed: () => {} },
    );
    local.send(Buffer.from("to myself"), "127.0.0.1", 5060);
    await simulation.advance(10);
    expect(heard).toEqual(["to myself 127.0.0.1 5060"]);
    await any.close();
    await local.close();
  });
});

describe("streams", () => {
  test("whatever the network does, bytes arrive once, in order, cut anywhere", async () => {
    let cuts = 0;
    for (let seed = 0; seed < 20; seed++) {
      const simulation = leakChecked(createSimulation({ seed, faults: ROUGH }));
      const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
      const { client, server, listener } = await stream(simulation, one, other);
      const sent = Array.from({ length: 30 }, (_, index) => `message ${index};`);
      for (const text of sent) {
        client.say(text);
        await simulation.advance(simulation.random.integer(20));
      }
      client.connection.end();
      await listener.close();
      await simulation.idle();
      expect(server.text).toBe(sent.join(""));
      expect(server.ends).toEqual([undefined]);
      cuts += server.chunks.filter((chunk) => !Buffer.from(chunk).toString().endsWith(";")).length;
    }
    expect(cuts).toBeGreaterThan(100);
  });

  test("writes of one moment may arrive as one chunk", async () => {
    const simulation = leakChecked(createSimulation({ seed: 2, faults: { split: 0 } }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const { client, server, listener } = await stream(simulation, one, other);
    client.say("first;");
    client.say("second;");
    client.connection.end();
    await listener.close();
    await simulation.idle();
    expect(server.chunks.map((chunk) => Buffer.from(chunk).toString())).toEqual(["first;second;"]);
  });

  test("a short partition delays a stream, and nothing is lost", async () => {
    const simulation = leakChecked(createSimulation({ seed: 2 }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const { client, server, listener } = await stream(simulation, one, other);
    simulation.partition([["10.0.0.1"], ["10.0.0.2"]]);
    client.say("patience");
    await simulation.advance(10_000);
    expect(server.text).toBe("");
    expect(client.ends).toEqual([]);
    simulation.heal();
    await simulation.advance(2000);
    expect(server.text).toBe("patience");
    client.connection.end();
    await listener.close();
    await simulation.idle();
  });

  test("a long partition ends both sides: the sender first, the idle one when it asks", async () => {
    const simulation = leakChecked(createSimulation({ seed: 2 }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const { client, server, listener } = await stream(simulation, one, other);
    simulation.partition([["10.0.0.1"], ["10.0.0.2"]]);
    client.say("anyone?");
    await simulation.advance(30_000);
    expect(client.ends.map((error) => error?.message)).toEqual(["read ETIMEDOUT"]);
    expect(server.ends).toEqual([]);
    await simulation.advance(60_000);
    expect(server.ends.map((error) => error?.message)).toEqual(["read ETIMEDOUT"]);
    expect(server.text).toBe("");
    await listener.close();
  });

  test("a sender outrunning its peer sees it in `buffered`", async () => {
    const simulation = leakChecked(createSimulation({ seed: 2 }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const { client, server, listener } = await stream(simulation, one, other);
    simulation.partition([["10.0.0.1"], ["10.0.0.2"]]);
    for (let index = 0; index < 10; index++) client.say("x".repeat(100_000));
    expect(client.connection.buffered).toBeGreaterThan(500_000);
    simulation.heal();
    await simulation.run(() => server.text.length === 1_000_000);
    expect(client.connection.buffered).toBe(0);
    client.connection.end();
    await listener.close();
    await simulation.idle();
  });

  test("connecting to nobody takes the whole time allowed; over a partition that heals it succeeds", async () => {
    const simulation = leakChecked(createSimulation({ seed: 2 }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const nobody = one.network.connect({ kind: "tcp", remote: { host: "10.0.0.9", port: 1 }, timeoutMs: 4000 });
    await expect(simulation.finish(nobody)).rejects.toThrow("no answer in time");
    expect(simulation.now).toBe(4000);
    simulation.partition([["10.0.0.1"], ["10.0.0.2"]]);
    one.timers.after(2500, () => simulation.heal());
    const { client, server, listener } = await stream(simulation, one, other);
    expect(simulation.now).toBeGreaterThan(6500);
    client.connection.end();
    await listener.close();
    await simulation.idle();
    expect(server.ends).toEqual([undefined]);
  });
});

describe("crash and restart", () => {
  test("a killed process: timers die, sockets vanish, its peers are told, its ports are free again", async () => {
    const simulation = leakChecked(createSimulation({ seed: 3 }));
    const { one, other, heard, send } = await datagrams(simulation);
    const { client, server } = await stream(simulation, one, other);
    let fired = false;
    other.timers.after(50, () => {
      fired = true;
    });
    other.crash();
    send("to the dead");
    server.say("from the dead");
    await simulation.advance(1000);
    expect(fired).toBe(false);
    expect(heard).toEqual([]);
    expect(client.ends).toHaveLength(1);
    expect(client.text).toBe("");
    expect(server.ends).toEqual([]);
    expect(other.leaks()).toEqual([]);
    expect(other.alive).toBe(false);

    const again = other.restart();
    const reborn: string[] = [];
    const socket = await again.network.udp(
      { host: "10.0.0.2", port: 5060 },
      { receive: (bytes) => reborn.push(Buffer.from(bytes).toString()), failed: () => {} },
    );
    send("welcome back");
    await simulation.advance(1000);
    expect(reborn).toEqual(["welcome back"]);
    await socket.close();
    one.crash();
  });

  test("a machine without power: its peers find out when they send, or by keep-alive", async () => {
    const simulation = leakChecked(createSimulation({ seed: 3 }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const first = await stream(simulation, one, other);
    await first.listener.close();
    const second = await stream(simulation, one, other);
    other.crash("power");
    first.client.say("anyone?");
    await simulation.advance(19_000);
    expect(first.client.ends).toEqual([]);
    await simulation.advance(5000);
    expect(first.client.ends.map((error) => error?.message)).toEqual(["read ETIMEDOUT"]);
    expect(second.client.ends).toEqual([]);
    await simulation.advance(60_000);
    expect(second.client.ends.map((error) => error?.message)).toEqual(["read ETIMEDOUT"]);
  });

  test("a machine that came back resets the connections of its former life", async () => {
    const simulation = leakChecked(createSimulation({ seed: 3 }));
    const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
    const { client } = await stream(simulation, one, other);
    other.crash("power");
    other.restart();
    client.say("do you remember me?");
    await simulation.advance(100);
    expect(client.ends.map((error) => error?.message)).toEqual(["read ECONNRESET"]);
  });

  test("promises of a crashed machine never settle, and it opens nothing more", async () => {
    const simulation = leakChecked(createSimulation({ seed: 3 }));
    const runtime = simulation.runtime(["10.0.0.1"]);
    let settled = 0;
    const count = () => settled++;
    runtime.network.connect({ kind: "tcp", remote: { host: "10.0.0.9", port: 1 }, timeoutMs: 100 }).then(count, count);
    runtime.network.resolver.a("east.example").then(count, count);
    runtime.crash();
    runtime.timers.after(1, count);
    runtime.timers.soon(count);
    await simulation.advance(1000);
    expect(settled).toBe(0);
    await expect(
      runtime.network.udp({ host: "10.0.0.1", port: 5060 }, { receive: () => {}, failed: () => {} }),
    ).rejects.toThrow("EADDRNOTAVAIL");
  });

  test("two living machines cannot have one address", () => {
    const simulation = createSimulation({ seed: 3 });
    const first = simulation.runtime(["10.0.0.1"]);
    expect(() => simulation.runtime(["10.0.0.1"])).toThrow("10.0.0.1 is running");
    expect(() => first.restart()).toThrow("crash it first");
    first.crash();
    expect(simulation.runtime(["10.0.0.1"]).alive).toBe(true);
  });
});

test("leaks() names what is open on which machine", async () => {
  const simulation = createSimulation({ seed: 3 });
  const [one, other] = [simulation.runtime(["10.0.0.1"]), simulation.runtime(["10.0.0.2"])];
  await stream(simulation, one, other);
  one.timers.after(10, () => {});
  await one.network.udp({ host: "10.0.0.1", port: 5060 }, { receive: () => {}, failed: () => {} });
  expect(simulation.leaks()).toEqual([
    "10.0.0.1: tcp connection 10.0.0.1:49153 - 10.0.0.2:5060",
    "10.0.0.1: udp socket 10.0.0.1:5060",
    "10.0.0.1: 1 timer",
    "10.0.0.2: tcp listener 10.0.0.2:5060",
    "10.0.0.2: tcp connection 10.0.0.2:5060 - 10.0.0.1:49153",
  ]);
});

test("DNS answers from the zone, which may change; one name may be out of reach", async () => {
  const zone = {
    "Example.com.": { srv: [{ name: "east.example.com", port: 5060, priority: 1, weight: 1 }] },
    "east.example.com": { a: ["10.0.0.1"], aaaa: ["fd00::1"] },
    "dark.example.com": { unreachable: true },
  };
  const simulation = leakChecked(createSimulation({ seed: 3, zone }));
  const { resolver } = simulation.runtime(["10.0.0.1"]).network;
  const ask = <T>(question: Promise<T>) => simulation.finish(question);
  expect(await ask(resolver.srv("example.COM"))).toHaveLength(1);
  expect(await ask(resolver.naptr("example.com"))).toEqual([]);
  expect(await ask(resolver.a("east.example.com."))).toEqual(["10.0.0.1"]);
  expect(await ask(resolver.aaaa("west.example.com"))).toEqual([]);
  await expect(ask(resolver.a("dark.example.com"))).rejects.toThrow("dark.example.com");
  simulation.zone["west.example.com"] = { aaaa: ["fd00::2"] };
  expect(await ask(resolver.aaaa("west.example.com"))).toEqual(["fd00::2"]);
  expect(simulation.now).toBeGreaterThan(0);
});
