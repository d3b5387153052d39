import { describe, expect, it } from "vitest";
import { createSimulation } from "../../src/runtime/simulated.ts";
import { Process } from "../support/process.ts";

function begin() {
  const simulation = createSimulation({ seed: 7 });
  const wire = { runtime: simulation.runtime(["127.0.0.9"]), latencyMs: [5, 5] as const };
  const machine = simulation.runtime(["127.0.0.1"]);
  const process = new Process(machine, 1, wire);
  const heard: string[] = [];
  const database = {
    arrived: [] as string[],
    async ask(what: string) {
      this.arrived.push(what);
      return what;
    },
    listener: (_: string): void => undefined,
    onChange(listener: (what: string) => void) {
      this.listener = listener;
      return () => undefined;
    },
  };
  return { simulation, process, heard, database, port: process.attach(database) };
}

describe("a simulated process", () => {
  it("paused, hears nothing; going on, everything in the order it came, its clock having gone on", async () => {
    const { simulation, process, heard, database, port } = begin();
    const { timers, clock } = process.runtime;
    port.onChange((what) => void heard.push(what));
    timers.after(100, () => heard.push(`timer ${clock.now()}`));
    void port.ask("question").then((answer) => heard.push(answer));
    process.pause();
    await simulation.advance(50);
    database.listener("change");
    await simulation.advance(450);
    expect(database.arrived).toEqual(["question"]);
    expect(heard).toEqual([]);
    process.resume();
    await simulation.settle();
    expect(heard).toEqual(["question", "change", "timer 500"]);
  });

  it("a timer that is cancelled on waking does not fire, though it was due while it slept", async () => {
    const { simulation, process, heard } = begin();
    const { timers } = process.runtime;
    timers.after(10, () => late.cancel());
    const late = timers.after(20, () => heard.push("late"));
    process.pause();
    await simulation.advance(100);
    process.resume();
    await simulation.settle();
    expect(heard).toEqual([]);
  });

  it("killed, does nothing any more, and of its statements on the wire some arrive and some do not", async () => {
    const { simulation, process, heard, database, port } = begin();
    for (let i = 0; i < 40; i++) void port.ask(`${i}`).then((answer) => heard.push(answer));
    process.runtime.timers.after(1, () => heard.push("timer"));
    process.kill();
    await simulation.advance(100);
    expect(heard).toEqual([]);
    expect(database.arrived.length).toBeGreaterThan(5);
    expect(database.arrived.length).toBeLessThan(35);
    expect(database.arrived).toEqual([...database.arrived].sort((a, b) => Number(a) - Number(b)));
  });
});
