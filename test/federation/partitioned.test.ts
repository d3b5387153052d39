import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { BindingOrigin, Lookup } from "../../src/directory/directory.ts";
import { decide } from "../../src/federation/decide.ts";
import type { Facts, Origin } from "../../src/federation/facts.ts";
import { AOR, bound, CLIENT, facts, fromServer, NO_BINDING, NO_RECORD, NOW, runs, server, settings } from "./make.ts";

const ORIGINS: readonly BindingOrigin[] = ["learned", "published", "registered", "admin", "provisioned"];
const FORKED = ["SUBSCRIBE", "MESSAGE", "INVITE"];
const OTHERS = ["OPTIONS", "REFER", "INFO", "NOTIFY", "UPDATE", "BYE", "PRACK", "FROB"];

describe("bound", () => {
  for (const origin of ORIGINS) {
    it(`relays to the server of a ${origin} binding`, () => {
      const plan = decide(facts({ lookup: bound("west", origin) }));
      expect(plan).toMatchObject({ kind: "relay", server: "west", subdomain: null, identity: null, unlearn: null });
      expect(plan).toMatchObject({ binding: { origin, epoch: 7, retry: origin === "learned" } });
      expect(plan.reasons.length).toBeGreaterThan(0);
    });
  }

  for (const method of [...FORKED, ...OTHERS, "PUBLISH"]) {
    it(`relays ${method}`, () => {
      expect(decide(facts({ method, lookup: bound("west") }))).toMatchObject({ kind: "relay", server: "west" });
    });
  }

  it("answers 480 with Retry-After where the server cannot be asked, and keeps the binding", () => {
    const servers = [server("east"), server("west", { up: false })];
    for (const origin of ORIGINS) {
      const plan = decide(facts({ servers, lookup: bound("west", origin) }));
      expect(plan).toMatchObject({ kind: "reject", status: 480, retryAfter: 10, unlearn: null });
    }
  });

  it("relays while the database is away", () => {
    const plan = decide(facts({ lookup: bound("west"), directoryAvailable: false }));
    expect(plan).toMatchObject({ kind: "relay", server: "west" });
  });

  it("takes a binding that has run out for none", () => {
    const plan = decide(facts({ lookup: bound("west", "registered", { expiresAt: NOW }) }));
    expect(plan).toMatchObject({ kind: "fork", unlearn: null });
  });

  it("relays on a binding that never expires", () => {
    const plan = decide(facts({ lookup: bound("west", "provisioned", { expiresAt: null }) }));
    expect(plan.kind).toBe("relay");
  });
});

describe("bound to the very server that asks", () => {
  it("learned is stale: drops it on its epoch and forks without that server", () => {
    const plan = decide(facts({ origin: fromServer("west"), lookup: bound("west") }));
    expect(plan).toMatchObject({
      kind: "fork",
      stages: [["east", "north"]],
      unlearn: { server: "west", epoch: 7 },
    });
  });

  for (const origin of ORIGINS.filter((each) => each !== "learned")) {
    it(`${origin} answers 404 and is kept`, () => {
      const plan = decide(facts({ origin: fromServer("west"), lookup: bound("west", origin) }));
      expect(plan).toMatchObject({ kind: "reject", status: 404, retryAfter: null, unlearn: null });
    });
  }

  it("learned is dropped for methods that do not search as well", () => {
    const plan = decide(facts({ method: "OPTIONS", origin: fromServer("west"), lookup: bound("west") }));
    expect(plan).toMatchObject({ kind: "reject", status: 480, unlearn: { server: "west", epoch: 7 } });
  });
});

describe("bound to a server that is configured no more", () => {
  it("learned is dropped and searched anew", () => {
    const plan = decide(facts({ lookup: bound("gone") }));
    expect(plan).toMatchObject({ kind: "fork", unlearn: { server: "gone", epoch: 7 } });
  });

  it("any other binding is kept: 480", () => {
    const plan = decide(facts({ lookup: bound("gone", "provisioned") }));
    expect(plan).toMatchObject({ kind: "reject", status: 480, retryAfter: 10, unlearn: null });
  });
});

describe("a 404 from the server learned", () => {
  it("forks once without it", () => {
    const plan = decide(facts({ without: ["west"] }));
    expect(plan).toMatchObject({ kind: "fork", stages: [["east", "north"]], unasked: [] });
  });

  it("does not come back to a binding that was not dropped yet", () => {
    const plan = decide(facts({ without: ["west"], lookup: bound("west") }));
    expect(plan).toMatchObject({
      kind: "fork",
      stages: [["east", "north"]],
      unlearn: { server: "west", epoch: 7 },
    });
  });

  it("relays where he was learned elsewhere in the meantime, once only", () => {
    const plan = decide(facts({ without: ["west"], lookup: bound("east") }));
    expect(plan).toMatchObject({ kind: "relay", server: "east", binding: { retry: false } });
  });

  it("believes a claim of that very server made in the meantime", () => {
    const plan = decide(facts({ without: ["west"], lookup: bound("west", "registered") }));
    expect(plan).toMatchObject({ kind: "relay", server: "west", binding: { retry: false } });
  });
});

describe("unbound", () => {
  for (const method of FORKED) {
    it(`forks ${method} to every server but the origin`, () => {
      expect(decide(facts({ method }))).toMatchObject({ kind: "fork", stages: [["east", "west", "north"]] });
      expect(decide(facts({ method, origin: fromServer("east") }))).toMatchObject({
        kind: "fork",
        stages: [["west", "north"]],
        unasked: [],
        provers: ["west", "north"],
      });
    });
  }

  for (const method of OTHERS) {
    it(`answers ${method} 480: it is no search`, () => {
      expect(decide(facts({ method }))).toMatchObject({ kind: "reject", status: 480, retryAfter: null });
    });
  }

  it("forks for a user without a record as well", () => {
    expect(decide(facts({ lookup: NO_RECORD })).kind).toBe("fork");
  });

  it("forks for another domain and for an authenticated client", () => {
    expect(decide(facts({ origin: { kind: "peer", domain: "other.org" } })).kind).toBe("fork");
    expect(decide(facts({ origin: { kind: "client", authenticated: "bob@example.com" } })).kind).toBe("fork");
  });

  it("asks servers whose success proves first, the others second", () => {
    const servers = [server("open", { proves: ["INVITE"] }), server("east"), server("west")];
    expect(decide(facts({ servers }))).toMatchObject({
      stages: [["east", "west"], ["open"]],
      provers: ["east", "west"],
    });
    expect(decide(facts({ servers, method: "INVITE" }))).toMatchObject({ stages: [["open", "east", "west"]] });
  });

  it("asks the others at once where no success proves", () => {
    const servers = [server("a", { proves: [] }), server("b", { proves: [] })];
    expect(decide(facts({ servers }))).toMatchObject({ stages: [["a", "b"]], provers: [], unasked: [] });
  });

  it("names servers that are down as not asked", () => {
    const servers = [server("east"), server("west", { up: false }), server("north")];
    expect(decide(facts({ servers }))).toMatchObject({ stages: [["east", "north"]], unasked: ["west"] });
  });

  it("names servers of the second stage that are down as not asked", () => {
    const servers = [server("east"), server("open", { proves: [], up: false })];
    expect(decide(facts({ servers }))).toMatchObject({ stages: [["east"]], unasked: ["open"] });
  });

  it("asks nobody of the second stage while a server of the first cannot be asked", () => {
    const servers = [server("east"), server("west", { up: false }), server("open", { proves: [] })];
    expect(decide(facts({ servers }))).toMatchObject({ stages: [["east"]], unasked: ["west", "open"] });
  });

  it("answers 480 with Retry-After where nobody that may be asked is up", () => {
    const down = [server("east", { up: false }), server("west", { up: false })];
    expect(decide(facts({ servers: down }))).toMatchObject({ kind: "reject", status: 480, retryAfter: 10 });
    const onlyOpen = [server("east", { up: false }), server("open", { proves: [] })];
    expect(decide(facts({ servers: onlyOpen }))).toMatchObject({ kind: "reject", status: 480, retryAfter: 10 });
  });

  it("answers 404 where the asking server is the only one", () => {
    const plan = decide(facts({ servers: [server("east")], origin: fromServer("east") }));
    expect(plan).toMatchObject({ kind: "reject", status: 404, retryAfter: null });
  });

  it("answers 500 with Retry-After while the directory is away, because a fork is recorded before it leaves", () => {
    for (const method of FORKED) {
      expect(decide(facts({ method, directoryAvailable: false }))).toMatchObject({ status: 500, retryAfter: 10 });
    }
    const plan = decide(facts({ lookup: { state: "unavailable" }, directoryAvailable: false }));
    expect(plan).toMatchObject({ kind: "reject", status: 500, phrase: "Server Internal Error", retryAfter: 10 });
  });
});

describe("all said 404", () => {
  const until = (ms: number): Lookup => ({ state: "all-said-404", epoch: 1, until: ms });

  it("answers 404 while the memory lasts", () => {
    expect(decide(facts({ lookup: until(NOW + 1) }))).toMatchObject({ kind: "reject", status: 404 });
    expect(decide(facts({ method: "OPTIONS", lookup: until(NOW + 1) }))).toMatchObject({ status: 404 });
  });

  it("forks again afterwards", () => {
    expect(decide(facts({ lookup: until(NOW) })).kind).toBe("fork");
  });
});

describe("an unknown origin", () => {
  it("is refused with 403", () => {
    expect(decide(facts({ origin: { kind: "unknown" } }))).toMatchObject({ kind: "reject", status: 403 });
  });
});

describe("redirect server", () => {
  it("answers 302 in place of relaying", () => {
    const plan = decide(facts({ lookup: bound("west"), settings: settings({ routing: "redirect" }) }));
    expect(plan).toMatchObject({ kind: "redirect", server: "west", subdomain: null, identity: null });
  });

  it("hands out the subdomain and the identity", () => {
    const plan = decide(
      facts({
        lookup: bound("west"),
        identities: { west: "al@example.com" },
        settings: settings({ routing: "redirect", subdomains: { west: "w.example.com" } }),
      }),
    );
    expect(plan).toMatchObject({ kind: "redirect", subdomain: "w.example.com", identity: "al@example.com" });
  });

  it("still searches for the unbound, and answers 480 for a server that is down", () => {
    expect(decide(facts({ settings: settings({ routing: "redirect" }) })).kind).toBe("fork");
    const plan = decide(
      facts({
        lookup: bound("west"),
        servers: [server("west", { up: false })],
        settings: settings({ routing: "redirect" }),
      }),
    );
    expect(plan).toMatchObject({ kind: "reject", status: 480 });
  });
});

describe("subdomaining and identities", () => {
  it("rewrites to the subdomain of the server, and only of that", () => {
    const subdomains = { west: "w.example.com" };
    const west = decide(facts({ lookup: bound("west"), settings: settings({ subdomains }) }));
    expect(west).toMatchObject({ kind: "relay", subdomain: "w.example.com" });
    const east = decide(facts({ lookup: bound("east"), settings: settings({ subdomains }) }));
    expect(east).toMatchObject({ kind: "relay", subdomain: null });
  });

  it("says by which name the server knows the user", () => {
    const identities = { west: "al.ice@example.com" };
    expect(decide(facts({ lookup: bound("west"), identities }))).toMatchObject({ identity: "al.ice@example.com" });
    expect(decide(facts({ lookup: bound("east"), identities }))).toMatchObject({ identity: null });
    expect(decide(facts({ identities }))).toMatchObject({ kind: "fork", identities });
  });

  it("a SUBSCRIBE to one whom his server knows by another name is back-to-back; without the directory 500", () => {
    const identities = { west: "al.ice@example.com" };
    const asked = { method: "SUBSCRIBE", event: "presence", lookup: bound("west"), identities };
    expect(decide(facts(asked))).toMatchObject({ kind: "hold", server: "west" });
    expect(decide(facts({ ...asked, directoryAvailable: false }))).toMatchObject({ kind: "reject", status: 500 });
    expect(decide(facts({ ...asked, method: "MESSAGE" }))).toMatchObject({ kind: "relay" });
    expect(decide(facts({ ...asked, lookup: bound("east") }))).toMatchObject({ kind: "relay" });
  });
});

// ── for all facts ────────────────────────────────────────────────────────────

const NAMES = ["east", "west", "north", "south"];
const METHODS = [...FORKED, ...OTHERS, "REGISTER", "PUBLISH"];

const arbitraryLookup: fc.Arbitrary<Facts["lookup"]> = fc.oneof(
  fc.constant(NO_BINDING),
  fc.constant(NO_RECORD),
  fc.constant({ state: "unavailable" as const }),
  fc.integer({ min: -5, max: 5 }).map((ms) => ({ state: "all-said-404" as const, epoch: 1, until: NOW + ms })),
  fc
    .record({
      name: fc.constantFrom(...NAMES, "gone"),
      origin: fc.constantFrom(...ORIGINS),
      expiresAt: fc.constantFrom(null, NOW - 1, NOW, NOW + 1),
    })
    .map(({ name, origin, expiresAt }) => bound(name, origin, { expiresAt })),
);

const arbitraryOrigin: fc.Arbitrary<Origin> = fc.oneof(
  fc.constantFrom(...NAMES).map(fromServer),
  fc.constant(CLIENT),
  fc.constant<Origin>({ kind: "peer", domain: "other.org" }),
  fc.constant<Origin>({ kind: "unknown" }),
);

const arbitraryFacts: fc.Arbitrary<Facts> = fc
  .record({
    method: fc.constantFrom(...METHODS),
    origin: arbitraryOrigin,
    lookup: arbitraryLookup,
    directoryAvailable: fc.boolean(),
    model: fc.constantFrom<Facts["model"]>(
      { model: "partitioned" },
      { model: "exclusive", conflict: "takeover", refuseWith: 403 },
      { model: "exclusive", conflict: "refuse", refuseWith: 302 },
      { model: "unioned", style: "peer" },
    ),
    servers: fc.uniqueArray(fc.constantFrom(...NAMES)).chain((names) =>
      fc.tuple(
        ...names.map((name) =>
          fc
            .record({
              up: fc.boolean(),
              proves: fc.subarray(FORKED),
              claims: fc.subarray(["register", "publish"] as const),
            })
            .map((change) => server(name, { ...change, claims: change.claims as ("register" | "publish")[] })),
        ),
      ),
    ),
    claim: fc.constantFrom<Facts["claim"]>("claim", "deregister", "none", "client"),
    without: fc.subarray(NAMES),
    home: fc.constantFrom(null, ...NAMES, "gone"),
    routing: fc.constantFrom<"proxy" | "redirect">("proxy", "redirect"),
  })
  .map(({ home, routing, ...rest }) => facts({ ...rest, settings: settings({ home, routing }) }));

/** Every server a plan would send the request to. */
function targets(plan: ReturnType<typeof decide>): readonly string[] {
  switch (plan.kind) {
    case "relay":
    case "redirect":
      return [plan.server];
    case "fork":
      return plan.stages.flat();
    case "bind":
      return plan.relayTo === null ? [] : [plan.relayTo];
    case "hold":
      return plan.server === null ? [] : [plan.server];
    case "compose":
    case "spread":
      return plan.servers;
    case "credit":
    case "reject":
    case "store":
    case "reginfo":
    case "winfo":
      return [];
  }
}

describe("for all facts", () => {
  const holds = (title: string, law: (given: Facts, plan: ReturnType<typeof decide>) => void): void => {
    it(title, () => {
      fc.assert(
        fc.property(arbitraryFacts, (given) => law(given, decide(given))),
        runs(2000),
      );
    });
  };

  holds("no plan asks the origin", (given, plan) => {
    if (given.origin.kind === "server") expect(targets(plan)).not.toContain(given.origin.server);
  });

  holds("no plan asks a server that is down or not configured", (given, plan) => {
    const up = given.servers.filter((each) => each.up).map((each) => each.name);
    for (const target of targets(plan)) expect(up).toContain(target);
  });

  holds("REGISTER and PUBLISH never fork", (given, plan) => {
    if (given.method === "REGISTER" || given.method === "PUBLISH") expect(plan.kind).not.toBe("fork");
    else expect(plan.kind).not.toBe("bind");
  });

  holds("only SUBSCRIBE, MESSAGE and INVITE of the unbound in the partitioned model fork", (given, plan) => {
    if (plan.kind !== "fork") return;
    expect(FORKED).toContain(given.method);
    expect(given.model.model).toBe("partitioned");
    expect(given.directoryAvailable).toBe(true);
  });

  holds(
    "a fork asks or names every server but the origin and those asked before, each once, in no empty stage",
    (given, plan) => {
      if (plan.kind !== "fork") return;
      const asker = given.origin.kind === "server" ? given.origin.server : null;
      const others = given.servers
        .map((each) => each.name)
        .filter((each) => each !== asker && !given.without.includes(each));
      expect([...plan.stages.flat(), ...plan.unasked].sort()).toEqual(others.sort());
      expect(plan.stages.length).toBeGreaterThan(0);
      for (const stage of plan.stages) expect(stage.length).toBeGreaterThan(0);
    },
  );

  holds("no server that accepts anyone is asked before or beside one that proves", (given, plan) => {
    if (plan.kind !== "fork" || plan.provers.length === 0) return;
    for (const asked of plan.stages[0]!) expect(plan.provers).toContain(asked);
    for (const each of given.servers) {
      if (each.proves.includes(given.method) && plan.unasked.includes(each.name)) expect(plan.stages).toHaveLength(1);
    }
  });

  holds("only a learned binding is ever dropped, on its epoch", (given, plan) => {
    if (!("unlearn" in plan) || plan.unlearn === null) return;
    expect(given.lookup).toMatchObject({
      state: "bound",
      binding: { origin: "learned", server: plan.unlearn.server, epoch: plan.unlearn.epoch },
    });
  });

  holds("no server is asked again that has just said 404, unless it has claimed the user", (given, plan) => {
    for (const target of targets(plan)) {
      if (!given.without.includes(target)) continue;
      expect(given.lookup).toMatchObject({ state: "bound", binding: { server: target } });
    }
  });

  holds("every plan gives reasons, shared and not built anew", (given, plan) => {
    expect(plan.reasons.length).toBeGreaterThan(0);
    expect(Object.isFrozen(plan.reasons)).toBe(true);
    expect(decide({ ...given, aor: AOR }).reasons).toBe(plan.reasons);
  });
});
