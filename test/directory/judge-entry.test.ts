import { describe, expect, it } from "vitest";
import { judgeEntry, noteReturn } from "../../src/directory/judge-entry.ts";
import type { Entry, EntryJudgement, Visited } from "../../src/directory/unions.ts";
import { fc } from "../support/fast-check.ts";

// Servers of one user, each connected to the proxies alone, and the SUBSCRIBEs of one watcher that go between them.

interface Server {
  /** Said of it in the configuration. */
  readonly onward: boolean;
  readonly marked: boolean;
  /** How many SUBSCRIBEs it sends on for each that it gets. */
  readonly sends: number;
  /** What becomes of the evidence on the way through. `fickle`: kept the first time. */
  readonly evidence: "kept" | "rewritten" | "fickle";
  /** As a proxy it leaves the From tag alone. */
  readonly proxies: boolean;
}

interface Leg {
  readonly holder: string;
  readonly server: string;
  readonly carries: string;
}

interface Asked {
  readonly id: string;
  readonly origin: string | null;
  /** It is what a server sends on of a leg, not a device's own. */
  readonly returned: boolean;
  readonly judged: EntryJudgement;
}

const MOST = 3;

class Mesh {
  readonly #servers: ReadonlyMap<string, Server>;
  readonly #judge: typeof judgeEntry;
  /** Rows of what has ended are not kept. */
  readonly #forgets: boolean;
  #rows: Visited[] = [];
  readonly #underWay: Leg[] = [];
  readonly #seen = new Set<string>();
  readonly asked: Asked[] = [];
  #count = 0;

  constructor(servers: readonly Server[], judge = judgeEntry, forgets = false) {
    this.#forgets = forgets;
    this.#servers = new Map(servers.map((server, i) => [nameOf(i), server]));
    this.#judge = judge;
  }

  get rows(): readonly Visited[] {
    return this.#rows;
  }

  get names(): string[] {
    return [...this.#servers.keys()];
  }

  /** A device's own SUBSCRIBE, by way of its server; null: from a client. */
  subscribe(origin: string | null): Asked {
    return this.#ask(origin, `session ${++this.#count}`, null, false);
  }

  /** One of the legs arrives at its server, which sends it on or not. */
  deliver(pick: number): void {
    const [leg] = this.#underWay.splice(pick % this.#underWay.length, 1);
    const server = this.#servers.get(leg!.server)!;
    for (let i = 0; i < server.sends; i++) {
      const isNew = server.evidence === "rewritten" || (server.evidence === "fickle" && this.#seen.has(leg!.server));
      this.#seen.add(leg!.server);
      const carries = isNew ? `made up ${++this.#count}` : leg!.carries;
      this.#ask(leg!.server, carries, server.proxies ? leg!.holder : null, true);
    }
  }

  /** A leg's dialog ends, or its SUBSCRIBE could not be sent. */
  leave(pick: number): void {
    const legs = this.#rows.filter((row) => row.role === "leg" && !row.gone);
    const gone = legs[pick % Math.max(1, legs.length)];
    this.#go((row) => row === gone);
  }

  /** What is sent at once has come. */
  settleDown(): void {
    this.#rows = this.#rows.map((row) => ({ ...row, fresh: false }));
  }

  end(holder: string): void {
    this.#go((row) => row.holder === holder);
  }

  #go(those: (row: Visited) => boolean): void {
    this.#rows = this.#rows
      .filter((row) => row.role === "leg" || !those(row))
      .map((row) => (those(row) ? { ...row, gone: true } : row));
    if (this.#forgets) this.#rows = this.#rows.filter((row) => !row.gone);
  }

  get underWay(): number {
    return this.#underWay.length;
  }

  /** False: it has no end. */
  settle(): boolean {
    for (let i = 0; i < 2000; i++) {
      if (this.#underWay.length === 0) return true;
      this.deliver(i);
    }
    return false;
  }

  /** Live chains that a server has begun. */
  begunBy(server: string): number {
    return this.#rows.filter((row) => row.server === server && row.role === "start" && row.holder === row.chain).length;
  }

  #ask(origin: string | null, carries: string, within: string | null, returned: boolean): Asked {
    const id = `s${++this.#count}`;
    const from = origin === null ? undefined : this.#servers.get(origin);
    const entry: Entry = {
      origin,
      evidence: from?.marked === true ? carries : null,
      sent: carries,
      within,
      servers: this.names.filter((name) => name !== origin),
      onward: this.names.filter((name) => this.#servers.get(name)!.onward),
      most: MOST,
    };
    const judged = this.#judge(id, entry, this.#rows);
    const noted = new Map(noteReturn(entry, this.#rows, judged.chain === id).map((each) => [each.row, each.echoed]));
    this.#rows = this.#rows.map((row) => {
      const echoed = noted.get(row);
      return echoed === undefined ? row : { ...row, echoed, returned: true };
    });
    if (judged.outcome === "entered") {
      const { chain, servers } = judged;
      const row = { chain, holder: id, echoed: false, returned: false, gone: false, fresh: false };
      this.#rows.push({ ...row, server: origin, role: "start", evidence: entry.evidence, fresh: true });
      for (const server of servers) {
        this.#rows.push({ ...row, server, role: "leg", evidence: carries });
        this.#underWay.push({ holder: id, server, carries });
      }
    }
    const asked = { id, origin, returned, judged };
    this.asked.push(asked);
    return asked;
  }
}

const nameOf = (i: number) => "abcdefgh"[i]!;

const server = (more: object = {}) =>
  fc.record({
    onward: fc.boolean(),
    marked: fc.boolean(),
    sends: fc.integer({ min: 0, max: 3 }),
    evidence: fc.constantFrom("kept" as const, "rewritten" as const, "fickle" as const),
    proxies: fc.boolean(),
    ...more,
  });
const meshOf = (each: fc.Arbitrary<Server>) => fc.array(each, { minLength: 2, maxLength: 6 });
/** What is said of it is so; only marks may be wrong. */
const declared = server({ evidence: fc.constantFrom("kept" as const, "rewritten" as const) }).map((each) => ({
  ...each,
  sends: each.onward ? each.sends : 0,
}));
const honest: Server = { onward: true, marked: true, sends: 1, evidence: "kept", proxies: false };

interface Step {
  readonly kind: "device" | "client" | "deliver" | "leave" | "end" | "later";
  readonly pick: number;
}

const KINDS = ["device", "device", "client", "deliver", "deliver", "deliver", "leave", "end"] as const;

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom<Step["kind"]>(...KINDS, "later"),
    pick: fc.nat(1000),
  }),
  { maxLength: 40 },
);
/** All of it within a moment. */
const quickSteps = steps.map((each) => each.filter(({ kind }) => kind !== "later"));

function play(mesh: Mesh, history: readonly Step[], each: () => void = () => undefined): void {
  for (const { kind, pick } of history) {
    if (kind === "device") mesh.subscribe(mesh.names[pick % mesh.names.length]!);
    else if (kind === "client") mesh.subscribe(null);
    else if (kind === "leave") mesh.leave(pick);
    else if (kind === "later") mesh.settleDown();
    else if (kind === "end") mesh.end(mesh.asked[pick % Math.max(1, mesh.asked.length)]?.id ?? "");
    else if (mesh.underWay > 0) mesh.deliver(pick);
    each();
  }
}

/** What came back and began a chain of its own, as if it were another instance. */
const passed = (mesh: Mesh) =>
  mesh.asked.filter(({ id, returned, judged }) => returned && judged.outcome === "entered" && judged.chain === id);

describe("what comes back is a loop, or goes to what its chain has left", () => {
  it("whatever is rewritten on the way, by servers that are marked to preserve it or are not", () => {
    fc.assert(
      fc.property(meshOf(declared), steps, (servers, history) => {
        const mesh = new Mesh(servers);
        play(mesh, history);
        expect(mesh.settle()).toBe(true);
        expect(passed(mesh)).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it("would not be, were evidence believed from a server that has not shown that it preserves it", () => {
    const trusting: typeof judgeEntry = (id, entry, rows) =>
      judgeEntry(
        id,
        entry,
        rows.map((row) => ({ ...row, echoed: true })),
      );
    const liar: Server = { ...honest, evidence: "rewritten" };
    const tried = (judge: typeof judgeEntry) => {
      const mesh = new Mesh([honest, liar], judge);
      mesh.subscribe("a");
      mesh.settle();
      return passed(mesh).length;
    };
    expect(tried(judgeEntry)).toBe(0);
    expect(tried(trusting)).toBeGreaterThan(0);
  });

  it("also where chains end as they begin: no storm", () => {
    const sent = (forgets: boolean) => {
      const mesh = new Mesh(
        Array.from({ length: 5 }, () => ({ ...honest, marked: false })),
        judgeEntry,
        forgets,
      );
      mesh.subscribe("a");
      // Each chain has ended when what its legs have set off comes back.
      for (let i = 0; i < 300 && mesh.underWay > 0; i++) {
        for (const { id } of mesh.asked) mesh.end(id);
        mesh.deliver(0);
      }
      return [mesh.asked.length, mesh.underWay];
    };
    expect(sent(false)).toEqual([5, 0]);
    const [asked, underWay] = sent(true);
    expect(asked).toBeGreaterThan(300);
    expect(underWay).toBeGreaterThan(300);
  });

  it("would not be, were the start of a chain not visited", () => {
    const forgetful: typeof judgeEntry = (id, entry, rows) =>
      judgeEntry(
        id,
        entry,
        rows.filter((row) => row.role === "leg"),
      );
    const tried = (judge: typeof judgeEntry) => {
      const mesh = new Mesh([honest, honest], judge);
      mesh.subscribe("a");
      mesh.settle();
      return mesh.rows.filter((row) => row.server === "a");
    };
    expect(tried(judgeEntry)).toHaveLength(1);
    expect(tried(forgetful).length).toBeGreaterThan(1);
  });
});

describe("there is an end to it", () => {
  it("whatever servers do, and whatever is said of them: no server begins more than its share", () => {
    fc.assert(
      fc.property(meshOf(server()), steps, (servers, history) => {
        const mesh = new Mesh(servers);
        play(mesh, history, () => {
          for (const name of mesh.names) expect(mesh.begunBy(name)).toBeLessThanOrEqual(MOST);
          const legs = mesh.rows.filter((row) => row.role === "leg").map((row) => `${row.chain} ${row.server}`);
          expect(new Set(legs).size).toBe(legs.length);
        });
        expect(mesh.settle()).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it("one live chain of a server that sends on, and one more for each instance that is proven; of others none at the same moment", () => {
    fc.assert(
      fc.property(
        meshOf(server({ onward: fc.constant(true), marked: fc.constant(false) })),
        quickSteps,
        (servers, history) => {
          const mesh = new Mesh(servers);
          play(mesh, history, () => {
            for (const name of mesh.names) expect(mesh.begunBy(name)).toBeLessThanOrEqual(1);
          });
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("a second instance of one watcher", () => {
  it("gets in on whichever server preserves the evidence, once it has shown that it does; every server is asked", () => {
    const mesh = fc.integer({ min: 2, max: 6 });
    fc.assert(
      fc.property(mesh, fc.array(fc.nat(100), { minLength: 2, maxLength: 8 }), (size, devices) => {
        const world = new Mesh(Array.from({ length: size }, () => honest));
        for (const device of devices) {
          const origin = world.names[device % size]!;
          const begun = world.begunBy(origin);
          const { id, judged } = world.subscribe(origin);
          const others = world.names.filter((name) => name !== origin);
          if (begun < MOST) expect(judged).toEqual({ outcome: "entered", chain: id, servers: others });
          else expect(judged.outcome).toBe("loop");
          expect(world.settle()).toBe(true);
        }
        expect(passed(world)).toEqual([]);
      }),
    );
  });

  it("does not where its server does not preserve it, or is not said to", () => {
    for (const other of [{ evidence: "rewritten" }, { marked: false }] as const) {
      const mesh = new Mesh([honest, { ...honest, ...other }]);
      mesh.subscribe("a");
      mesh.settle();
      expect(mesh.subscribe("b").judged.outcome).toBe("loop");
    }
  });

  it("does beside one that brought none only where nothing can be coming back", () => {
    const plain: Server = { onward: false, marked: false, sends: 0, evidence: "kept", proxies: false };
    const mesh = new Mesh([plain, plain]);
    // Nothing of the pair is sent to a: two devices of one server that sends nothing on.
    for (let i = 0; i < MOST; i++) expect(mesh.subscribe("a").judged.outcome).toBe("entered");
    expect(mesh.subscribe("a").judged.outcome).toBe("loop");
    // A leg leads to b: one of its own, in case that what is said of it is wrong.
    expect(mesh.subscribe("b").judged.outcome).toBe("entered");
    expect(mesh.subscribe("b").judged.outcome).toBe("loop");
    const onward = new Mesh([{ ...honest, marked: false }, plain]);
    expect(onward.subscribe("a").judged.outcome).toBe("entered");
    expect(onward.subscribe("a").judged.outcome).toBe("loop");
  });

  it("is told from a copy by the time, where all of the server's chains begin there", () => {
    const forgetful = { ...honest, marked: false };
    const mesh = new Mesh([forgetful, { ...forgetful, onward: false, sends: 0 }]);
    for (let i = 0; i < MOST; i++) {
      expect(mesh.subscribe("a").judged.outcome).toBe("entered");
      expect(mesh.subscribe("a").judged).toMatchObject({ outcome: "loop", lives: true });
      mesh.settleDown();
    }
    // It is to ask again later: a 482 would have it go on with what it has.
    expect(mesh.subscribe("a").judged).toMatchObject({ outcome: "loop", lives: false });
    const led = new Mesh([forgetful, forgetful]);
    led.subscribe("a");
    led.subscribe(null);
    led.settleDown();
    expect(led.subscribe("a").judged).toMatchObject({ outcome: "loop", lives: true });
  });

  it("also with the evidence it had, from where it was; not from elsewhere, nor with a From tag of ours", () => {
    const mesh = new Mesh([honest, honest, honest]);
    const { id } = mesh.subscribe("a");
    mesh.settleDown();
    const evidence = mesh.rows[0]!.evidence;
    const entry: Entry = {
      origin: "a",
      evidence,
      sent: evidence,
      within: null,
      servers: ["b", "c"],
      onward: mesh.names,
      most: MOST,
    };
    expect(judgeEntry("x", entry, mesh.rows)).toMatchObject({ outcome: "entered", chain: "x" });
    expect(judgeEntry("x", { ...entry, within: id }, mesh.rows)).toMatchObject({ outcome: "loop", lives: true });
    const elsewhere = { ...entry, origin: "b", servers: ["a", "c"] };
    expect(judgeEntry("x", elsewhere, mesh.rows)).toMatchObject({ outcome: "loop", lives: true });
  });

  it("from clients there may be any number", () => {
    const mesh = new Mesh([honest, honest, honest]);
    for (let i = 0; i < 2 * MOST; i++) {
      expect(mesh.subscribe(null).judged).toMatchObject({ outcome: "entered", servers: ["a", "b", "c"] });
      mesh.settle();
    }
    expect(passed(mesh)).toEqual([]);
  });
});

describe("servers that a chain has lost", () => {
  const plain: Server = { ...honest, onward: false, sends: 0 };
  const rows = (mesh: Mesh) => mesh.rows.map((row) => ({ ...row }));

  it("are not asked by who comes by that chain while their own may be coming back, and are asked afterwards", () => {
    const mesh = new Mesh([honest, plain, plain, plain]);
    const { id } = mesh.subscribe("a");
    const legs = () => mesh.rows.filter((row) => row.role === "leg");
    mesh.leave(legs().findIndex((row) => row.server === "d"));
    const entry: Entry = {
      origin: "b",
      evidence: null,
      sent: null,
      within: null,
      servers: ["a", "c", "d"],
      onward: ["b"],
      most: MOST,
    };
    expect(judgeEntry("x", entry, rows(mesh))).toEqual({ outcome: "loop", chain: id, lives: true });
    const lapsed = rows(mesh).filter((row) => !row.gone);
    expect(judgeEntry("x", entry, lapsed)).toEqual({ outcome: "entered", chain: id, servers: ["d"] });
  });

  it("the same instance may subscribe anew at once where nothing has been sent to its server", () => {
    const mesh = new Mesh([honest, honest]);
    const { id } = mesh.subscribe("a");
    const entry: Entry = {
      origin: "a",
      evidence: mesh.rows[0]!.evidence,
      sent: null,
      within: null,
      servers: ["b"],
      onward: ["a", "b"],
      most: MOST,
    };
    expect(judgeEntry("x", entry, mesh.rows)).toEqual({ outcome: "loop", chain: id, lives: true });
    mesh.end(id);
    expect(judgeEntry("x", entry, mesh.rows)).toEqual({ outcome: "entered", chain: "x", servers: ["b"] });
    const late = judgeEntry("x", { ...entry, origin: "b", servers: ["a"] }, mesh.rows);
    expect(late).toEqual({ outcome: "loop", chain: id, lives: false });
  });

  it("who comes from where a leg has ended is on no live chain, though the chain lives", () => {
    const mesh = new Mesh([honest, honest, honest]);
    const { id } = mesh.subscribe("a");
    mesh.leave(0);
    const entry: Entry = {
      origin: "b",
      evidence: null,
      sent: null,
      within: null,
      servers: ["a", "c"],
      onward: ["a", "b", "c"],
      most: MOST,
    };
    expect(judgeEntry("x", entry, mesh.rows)).toEqual({ outcome: "loop", chain: id, lives: false });
    expect(judgeEntry("x", { ...entry, origin: "c", servers: ["a", "b"] }, mesh.rows)).toMatchObject({ lives: true });
    const known = { ...entry, evidence: mesh.rows[0]!.evidence };
    expect(judgeEntry("x", known, mesh.rows)).toMatchObject({ outcome: "loop", lives: true });
  });
});
