import { describe, expect, it } from "vitest";
import { TimerWheel, WheelTimer } from "../../../src/sip/transaction/timer-wheel.ts";
import { fc } from "../../support/fast-check.ts";
import { ManualTime } from "./manual-time.ts";

function setup(start = 0) {
  const time = new ManualTime(start);
  const wheel = new TimerWheel(time);
  const fired: Array<[string, number]> = [];
  const timer = () => new WheelTimer<string>({ fired: (label) => fired.push([label, time.clock.now()]) });
  return { time, wheel, fired, timer };
}

describe("the timer wheel", () => {
  it("fires once, at the time asked for, when that lies on a tick", () => {
    const { time, wheel, fired, timer } = setup();
    wheel.start(timer(), 500, "a");
    time.advance(499);
    expect(fired).toEqual([]);
    time.advance(100_000);
    expect(fired).toEqual([["a", 500]]);
  });

  it("is never early and at most one tick late", () => {
    const { time, wheel, fired, timer } = setup(3.7);
    wheel.start(timer(), 501.2, "a");
    time.advance(1000);
    expect(fired).toEqual([["a", 510]]);
  });

  it("fires in the order of time, and in one tick in the order of starting", () => {
    const { time, wheel, fired, timer } = setup();
    wheel.start(timer(), 30, "late");
    wheel.start(timer(), 20, "first");
    wheel.start(timer(), 20, "second");
    time.advance(100);
    expect(fired.map(([label]) => label)).toEqual(["first", "second", "late"]);
  });

  it("holds timers longer than a turn of the wheel", () => {
    const { time, wheel, fired, timer } = setup();
    wheel.start(timer(), 180_000, "c");
    time.advance(179_999);
    expect(fired).toEqual([]);
    time.advance(1);
    expect(fired).toEqual([["c", 180_000]]);
  });

  it("asks the runtime for one timer while it holds any, and for none when it is empty", () => {
    const { time, wheel, timer } = setup();
    const timers = Array.from({ length: 100 }, timer);
    for (const [i, each] of timers.entries()) wheel.start(each, 100 + i * 7, "x");
    expect(time.pending).toBe(1);
    for (const each of timers) wheel.stop(each);
    expect(time.pending).toBe(0);
    wheel.start(timers[0]!, 50, "x");
    time.advance(50);
    expect(time.pending).toBe(0);
    expect(wheel.size).toBe(0);
  });

  it("wakes earlier for a timer started later with a nearer end", () => {
    const { time, wheel, fired, timer } = setup();
    wheel.start(timer(), 32_000, "far");
    wheel.start(timer(), 10, "near");
    time.advance(10);
    expect(fired).toEqual([["near", 10]]);
  });

  it("restarts a running timer instead of doubling it", () => {
    const { time, wheel, fired, timer } = setup();
    const one = timer();
    wheel.start(one, 100, "a");
    wheel.start(one, 200, "b");
    expect(wheel.size).toBe(1);
    time.advance(1000);
    expect(fired).toEqual([["b", 200]]);
  });

  it("lets a timer that fires start itself again and stop another of the same tick", () => {
    const time = new ManualTime();
    const wheel = new TimerWheel(time);
    const fired: number[] = [];
    const victim = new WheelTimer<string>({ fired: () => fired.push(-1) });
    const pulse: WheelTimer<string> = new WheelTimer<string>({
      fired: () => {
        fired.push(time.clock.now());
        wheel.stop(victim);
        if (fired.length < 3) wheel.start(pulse, 100, "again");
      },
    });
    wheel.start(pulse, 100, "go");
    wheel.start(victim, 100, "never");
    time.advance(1000);
    expect(fired).toEqual([100, 200, 300]);
  });

  it("fires all that is due after the process was held up for longer than a turn", () => {
    const { time, wheel, fired, timer } = setup();
    for (const ms of [10, 5_000, 40_000, 59_000, 90_000]) wheel.start(timer(), ms, String(ms));
    time.stall(60_000);
    time.advance(0);
    expect(fired.map(([label]) => label).sort()).toEqual(["10", "40000", "5000", "59000"]);
    time.advance(30_000);
    expect(fired.at(-1)).toEqual(["90000", 90_000]);
  });

  it("keeps the others running when an owner throws", () => {
    const { time, wheel, fired, timer } = setup();
    const bad = new WheelTimer<string>({
      fired: () => {
        throw new Error("owner");
      },
    });
    wheel.start(bad, 10, "bad");
    wheel.start(timer(), 10, "same tick");
    wheel.start(timer(), 50, "later");
    expect(() => time.advance(10)).toThrow("owner");
    time.advance(0);
    expect(fired).toEqual([["same tick", 10]]);
    time.advance(100);
    expect(fired.map(([label]) => label)).toEqual(["same tick", "later"]);
  });

  it("forgets everything at clear", () => {
    const { time, wheel, fired, timer } = setup();
    const one = timer();
    wheel.start(one, 10, "a");
    wheel.clear();
    expect(one.running).toBe(false);
    expect(time.pending).toBe(0);
    wheel.start(one, 20, "b");
    time.advance(100);
    expect(fired).toEqual([["b", 20]]);
  });

  it("fires what a plain list of deadlines would, whatever is started and stopped", () => {
    const step = fc.oneof(
      fc.record({ act: fc.constant("start" as const), id: fc.nat(9), ms: fc.nat(60_000) }),
      fc.record({ act: fc.constant("stop" as const), id: fc.nat(9), ms: fc.constant(0) }),
      fc.record({ act: fc.constant("advance" as const), id: fc.constant(0), ms: fc.nat(50_000) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { time, wheel, fired, timer } = setup(17);
        const timers = Array.from({ length: 10 }, timer);
        const due = new Map<number, number>();
        const expected: Array<[string, number]> = [];
        for (const { act, id, ms } of steps) {
          const now = time.clock.now();
          if (act === "start") {
            wheel.start(timers[id]!, ms, String(id));
            due.set(id, Math.max(Math.ceil((now + ms) / 10), Math.floor(now / 10) + 1) * 10);
          } else if (act === "stop") {
            wheel.stop(timers[id]!);
            due.delete(id);
          } else {
            time.advance(ms);
            for (const [each, at] of [...due].sort((a, b) => a[1] - b[1])) {
              if (at > now + ms) continue;
              expected.push([String(each), at]);
              due.delete(each);
            }
          }
          expect(wheel.size).toBe(due.size);
        }
        const order = (list: Array<[string, number]>) =>
          [...list].sort((a, b) => a[1] - b[1] || a[0].localeCompare(b[0]));
        expect(order(fired)).toEqual(order(expected));
        expect(fired.map(([, at]) => at)).toEqual(expected.map(([, at]) => at));
      }),
      { numRuns: 200 },
    );
  });
});
