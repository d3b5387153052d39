import { expect, it } from "vitest";
import { DirectoryUnavailable } from "../../src/base/errors.ts";
import type { Change, Lookup, NamedUser } from "../../src/directory/directory.ts";
import { NamedUsers } from "../../src/proxy/named-users.ts";
import { Telemetry } from "../../src/telemetry/events.ts";
import { virtualRuntime } from "../directory/virtual-runtime.ts";

/** A directory of records with identities, which can be away; reads are counted. */
function domain() {
  const records = new Map<string, NamedUser["identities"]>();
  const listeners = new Set<(change: Change) => void>();
  const state = { away: false, pages: 0 };
  const here = (): void => {
    if (state.away) throw new DirectoryUnavailable("away");
  };
  const directory = {
    async namedUsers(after: string, limit: number): Promise<readonly NamedUser[]> {
      here();
      state.pages++;
      const all = [...records].map(([aor, identities]) => ({ aor, identities }));
      return all
        .filter(({ aor }) => aor > after)
        .sort((a, b) => (a.aor < b.aor ? -1 : 1))
        .slice(0, limit);
    },
    async lookup(aor: string): Promise<Lookup> {
      here();
      const identities = records.get(aor);
      if (identities === undefined) return { state: "no-record", epoch: 0 };
      return { state: "no-binding", epoch: 0, user: { aor, model: null, settings: {}, identities } };
    },
    onChange(listener: (change: Change) => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const runtime = virtualRuntime(1);
  const named = new NamedUsers(directory, runtime, new Telemetry());
  const tell = async (change: Change): Promise<void> => {
    for (const each of listeners) each(change);
    await runtime.advance(0);
  };
  const put = (aor: string, identities: NamedUser["identities"] | null): Promise<void> => {
    if (identities === null) records.delete(aor);
    else records.set(aor, identities);
    return tell({ kind: "user", aor });
  };
  return { records, state, runtime, named, listeners, tell, put };
}

it("of two whom a server calls alike the least address is taken, and the other once he alone is called so", async () => {
  const { named, put } = domain();
  await named.start();
  await put("joe@example.com", { north: "joe.smith" });
  await put("bob@example.com", { north: "joe.smith@example.com", west: "bobby" });
  expect(named.whoIs("north", "joe.smith@example.com")).toBe("bob@example.com");
  await put("bob@example.com", { west: "bobby" });
  expect(named.whoIs("north", "joe.smith@example.com")).toBe("joe@example.com");
  await put("joe@example.com", null);
  expect(named.whoIs("north", "joe.smith@example.com")).toBeUndefined();
  expect([named.size, named.identitiesOf("bob@example.com")]).toEqual([1, { west: "bobby" }]);
});

it("with the database away they are read when it is back, and what changed meanwhile too", async () => {
  const { named, records, state, runtime, put } = domain();
  records.set("joe@example.com", { north: "joe.smith" });
  state.away = true;
  await named.start();
  expect(named.size).toBe(0);
  state.away = false;
  await runtime.advance(1_000);
  expect(named.whoIs("north", "joe.smith@example.com")).toBe("joe@example.com");
  state.away = true;
  await put("joe@example.com", {});
  expect(named.size).toBe(1);
  state.away = false;
  await runtime.advance(1_000);
  expect(named.size).toBe(0);
});

it("thousands are read page by page; after a break of the feed all are read again; ended, it listens and waits no more", async () => {
  const { named, records, state, runtime, listeners, tell, put } = domain();
  for (let i = 0; i < 2_500; i++) records.set(`u${i}@example.com`, { north: `n${i}` });
  await named.start();
  expect([named.size, state.pages]).toEqual([2_500, 3]);
  expect(named.whoIs("north", "n2499@example.com")).toBe("u2499@example.com");
  records.delete("u0@example.com");
  await tell({ kind: "reset" });
  expect([named.size, state.pages]).toEqual([2_499, 6]);
  state.away = true;
  await put("u1@example.com", null);
  named.stop();
  expect([listeners.size, runtime.pending]).toEqual([0, 0]);
});
