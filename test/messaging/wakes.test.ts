import { describe, expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Change } from "../../src/directory/directory.ts";
import type { MessageStore } from "../../src/directory/messages.ts";
import { Wakes } from "../../src/messaging/wakes.ts";
import { virtualRuntime } from "../directory/virtual-runtime.ts";

function bound(aor: string, server: string | null = "a"): Change {
  return { kind: "binding", aor, server, previous: null, epoch: 1 };
}

function setUp() {
  const runtime = virtualRuntime(1);
  const asked: unknown[] = [];
  const state = { away: false, woken: 0, found: 1 };
  const answer = (what: unknown): Promise<number> => {
    asked.push(what);
    return state.away ? Promise.reject(new DirectoryUnavailable("away")) : Promise.resolve(state.found);
  };
  const store: Pick<MessageStore, "wake" | "wakeBound"> = {
    wake: (recipients) => answer(recipients),
    wakeBound: (server, limit) => answer([server, limit]),
  };
  const wakes = new Wakes(store as MessageStore, runtime, () => {
    state.woken++;
  });
  return { runtime, asked, state, wakes };
}

describe("recipients who are bound", () => {
  it("of one moment share a statement; unbinding wakes nobody", async () => {
    const { runtime, asked, state, wakes } = setUp();
    for (const aor of ["a@x", "b@x", "a@x"]) wakes.onChange(bound(aor));
    wakes.onChange(bound("c@x", null));
    await runtime.advance(100);
    expect(asked).toEqual([["a@x", "b@x"]]);
    expect(state.woken).toBe(1);
    expect(runtime.pending).toBe(0);
  });

  it("are nobody's business while nothing is stored anywhere; what was stored meanwhile counts", async () => {
    const { runtime, asked, wakes } = setUp();
    wakes.nothingStored(wakes.heard);
    wakes.onChange(bound("a@x"));
    await runtime.advance(100);
    expect(asked).toEqual([]);
    const { heard } = wakes;
    wakes.onChange({ kind: "user", aor: "b@x" });
    // This answer is older than what was heard since it was asked for.
    wakes.nothingStored(heard);
    wakes.onChange(bound("b@x"));
    await runtime.advance(100);
    expect(asked[0]).toEqual(["b@x"]);
  });

  it("a binding told before what it waited for, while nothing was stored, is looked at again", async () => {
    const { runtime, asked, wakes } = setUp();
    wakes.nothingStored(wakes.heard);
    wakes.onChange(bound("a@x"));
    wakes.onChange({ kind: "user", aor: "a@x" });
    await runtime.advance(100);
    expect(asked).toEqual([[null, 1_000]]);
    // Once: what is told from now on is heard by itself.
    wakes.onChange({ kind: "user", aor: "c@x" });
    await runtime.advance(100);
    expect(asked).toHaveLength(1);
  });

  it("the first that is stored anywhere makes this proxy look again", () => {
    const { state, wakes } = setUp();
    wakes.onChange({ kind: "user", aor: "a@x" });
    expect([state.woken, wakes.anything]).toEqual([0, true]);
    wakes.nothingStored(wakes.heard);
    expect(wakes.anything).toBe(false);
    wakes.onChange({ kind: "user", aor: "a@x" });
    expect([state.woken, wakes.anything]).toEqual([1, true]);
  });

  it("are kept while the database is away, and woken when it is back", async () => {
    const { runtime, asked, state, wakes } = setUp();
    state.away = true;
    wakes.onChange(bound("a@x"));
    await runtime.advance(2_500);
    expect(asked).toEqual([["a@x"], ["a@x"], ["a@x"]]);
    state.away = false;
    await runtime.advance(1_000);
    expect(asked).toHaveLength(4);
    expect(state.woken).toBe(1);
    expect(runtime.pending).toBe(0);
  });

  it("too many to remember: everybody who is bound is looked at", async () => {
    const { runtime, asked, state, wakes } = setUp();
    state.away = true;
    for (let i = 0; i <= 20_000; i++) wakes.onChange(bound(`u${i}@x`));
    await runtime.advance(15);
    expect(asked).toEqual([[null, 1_000]]);
    wakes.stop();
    await runtime.advance(5_000);
    expect(runtime.pending).toBe(0);
  });
});

describe("a server that comes back, and a feed that was interrupted", () => {
  it("goes through all of its queues, a batch at a time", async () => {
    const { runtime, asked, state, wakes } = setUp();
    state.found = 1_000;
    wakes.serverUp("a");
    await runtime.advance(15);
    state.found = 7;
    await runtime.advance(100);
    expect(asked).toEqual([
      ["a", 1_000],
      ["a", 1_000],
    ]);
    wakes.onChange({ kind: "reset" });
    await runtime.advance(100);
    expect(asked.at(-1)).toEqual([null, 1_000]);
  });
});
