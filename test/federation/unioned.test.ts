import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import type { Facts, Onward, Tree } from "../../src/federation/facts.ts";
import { bound, facts, fromServer, NO_BINDING, NO_RECORD, server, settings } from "./make.ts";

const TREE: Tree = { name: "hq", root: "root", children: { root: ["mid", "leaf"], mid: ["low", "lower"] } };
const NAMES = ["root", "mid", "leaf", "low", "lower", "other"];
const HQ: Facts["model"] = { model: "unioned", style: "hierarchical", tree: "hq" };
const PEER: Facts["model"] = { model: "unioned", style: "peer", servers: ["root", "mid", "leaf"] };
const UNIONS = { trees: [TREE], downListener: false, unreachable: "wait" as const };
const WHOLE = ["root", "mid", "low", "lower", "leaf"];

function servers(
  onward: Readonly<Record<string, Onward>> = {},
  down: readonly string[] = [],
  configured = NAMES,
): Facts["servers"] {
  return configured.map((name) => server(name, { onward: onward[name] ?? "none", up: !down.includes(name) }));
}

function ask(change: Partial<Facts>) {
  return decide(facts({ model: HQ, servers: servers(), settings: settings({ unions: UNIONS }), ...change }));
}

const subscribe = (change: Partial<Facts> = {}) => ask({ method: "SUBSCRIBE", event: "presence", ...change });
const message = (change: Partial<Facts> = {}) => ask({ method: "MESSAGE", ...change });
const METHODS = [
  { method: "SUBSCRIBE", event: "presence" },
  { method: "MESSAGE", event: "" },
  { method: "INVITE", event: "" },
] as const;
const MID_GOES_ON = servers({ mid: "both" });
const withDown = settings({ unions: { ...UNIONS, downListener: true } });

describe("unioned, whatever is asked", () => {
  const ALL = [...METHODS, { method: "OPTIONS", event: "" }, { method: "REGISTER", event: "" }] as const;

  it("nothing is known of the user's record: 500 with Retry-After", () => {
    for (const each of ALL) {
      const plan = ask({ ...each, lookup: { state: "unavailable" }, directoryAvailable: false });
      expect(plan).toMatchObject({ kind: "reject", status: 500, retryAfter: 10 });
    }
  });

  it("his record names a tree that there is none of, or no servers: 480 with Retry-After", () => {
    for (const model of [
      { model: "unioned", style: "hierarchical", tree: "gone" },
      { model: "unioned", style: "hierarchical" },
      { model: "unioned", style: "peer" },
      { model: "unioned", style: "peer", servers: [] },
    ] as const) {
      for (const each of ALL) {
        expect(ask({ ...each, model })).toMatchObject({ kind: "reject", status: 480, retryAfter: 10 });
      }
      expect(subscribe({ model })).not.toMatchObject({ warning: null });
    }
  });

  it("none of his servers is configured: 480 with Retry-After", () => {
    for (const model of [HQ, PEER]) {
      for (const each of ALL) {
        const plan = ask({ ...each, model, servers: servers({}, [], ["other"]) });
        expect(plan).toMatchObject({ kind: "reject", status: 480, retryAfter: 10 });
      }
    }
  });

  it("the only server the user is on asks: 404", () => {
    const left = servers({}, [], ["root", "other"]);
    for (const model of [HQ, PEER]) {
      for (const each of [...METHODS, { method: "OPTIONS", event: "" }]) {
        const plan = ask({ ...each, model, servers: left, origin: fromServer("root") });
        expect(plan).toMatchObject({ kind: "reject", status: 404 });
      }
    }
  });
});

describe("unioned, SUBSCRIBE to presence", () => {
  it("is composed of his servers, whether they can be asked or not: those that cannot are pending", () => {
    expect(subscribe()).toMatchObject({
      kind: "compose",
      servers: WHOLE,
      view: { from: null, direction: "up" },
      visited: false,
      credits: {},
    });
    expect(subscribe({ servers: servers({}, ["mid", "low"]) })).toMatchObject({ kind: "compose", servers: WHOLE });
    expect(subscribe({ servers: servers({}, NAMES) })).toMatchObject({ kind: "compose", servers: WHOLE });
  });

  it("is composed for a user without a record, and whatever he is bound to", () => {
    for (const lookup of [NO_RECORD, NO_BINDING, bound("leaf", "registered"), bound("other")]) {
      expect(subscribe({ lookup })).toMatchObject({ kind: "compose", servers: WHOLE });
    }
  });

  it("is composed also where one server only is asked", () => {
    const left = servers({}, [], ["root", "other"]);
    for (const model of [HQ, PEER]) {
      expect(subscribe({ model, servers: left })).toMatchObject({ kind: "compose", servers: ["root"] });
    }
  });

  it("the directory away: 500 with Retry-After, since it must be stored", () => {
    for (const model of [HQ, PEER]) {
      expect(subscribe({ model, directoryAvailable: false })).toMatchObject({ status: 500, retryAfter: 10 });
    }
  });

  it("peer: the servers of the user but the one that asks, and visited rows", () => {
    expect(subscribe({ model: PEER })).toMatchObject({ servers: ["root", "mid", "leaf"], visited: true });
    expect(subscribe({ model: PEER, origin: fromServer("other") })).toMatchObject({
      servers: ["root", "mid", "leaf"],
      view: { from: "other", direction: "up" },
    });
    const onward = servers({ root: "both", mid: "both", leaf: "both" });
    expect(subscribe({ model: PEER, origin: fromServer("mid"), servers: onward })).toMatchObject({
      kind: "compose",
      servers: ["root", "leaf"],
      view: { from: "mid", direction: "up" },
      visited: true,
      credits: {},
    });
  });

  it("a redirect server answers 302 where the tree's one server has the whole, and composes elsewhere", () => {
    const redirect = settings({ unions: UNIONS, routing: "redirect" });
    const composing = servers({ root: "children" });
    expect(subscribe({ settings: redirect, servers: composing })).toMatchObject({ kind: "redirect", server: "root" });
    expect(message({ settings: redirect, servers: composing })).toMatchObject({ kind: "redirect", server: "root" });
    expect(subscribe({ settings: redirect })).toMatchObject({ kind: "compose" });
    expect(message({ settings: redirect })).toMatchObject({ kind: "spread" });
    expect(subscribe({ settings: redirect, model: PEER })).toMatchObject({ kind: "compose" });
    const away = servers({ root: "children" }, ["root"]);
    expect(subscribe({ settings: redirect, servers: away })).toMatchObject({ kind: "compose", servers: ["root"] });
  });
});

describe("hierarchical, from where", () => {
  for (const each of METHODS) {
    it(`${each.method} from a client, another domain or a server outside is for the whole tree`, () => {
      for (const origin of [fromServer("other"), { kind: "peer", domain: "a.org" } as const, facts().origin]) {
        expect(ask({ ...each, origin })).toMatchObject({ servers: WHOLE });
      }
    });

    it(`${each.method} from the root is for those below it, to whichever listener it comes`, () => {
      for (const direction of ["up", "down"] as const) {
        const plan = ask({ ...each, origin: fromServer("root"), direction, settings: withDown });
        expect(plan).toMatchObject({ servers: ["mid", "low", "lower", "leaf"] });
      }
    });

    it(`${each.method} from a leaf only ever goes up`, () => {
      for (const direction of ["up", "down"] as const) {
        const origin = fromServer("leaf");
        const leafGoesOn = servers({ leaf: "both" });
        const plan = ask({ ...each, origin, direction, servers: leafGoesOn, settings: withDown });
        expect(plan).toMatchObject({ servers: WHOLE });
        expect(ask({ ...each, origin, servers: leafGoesOn })).toMatchObject({ servers: WHOLE });
      }
    });

    it(`${each.method} from a middle node goes as the listener says, where one is \`down\``, () => {
      const origin = fromServer("mid");
      const given = { ...each, origin, servers: MID_GOES_ON, settings: withDown };
      expect(ask({ ...given, direction: "down" })).toMatchObject({ servers: ["low", "lower"] });
      expect(ask({ ...given, direction: "up" })).toMatchObject({ servers: ["root", "mid", "leaf"], credits: {} });
    });

    it(`${each.method} from a middle node that sends nothing on is its own user's`, () => {
      for (const onward of ["none", "up"] as const) {
        const plan = ask({ ...each, origin: fromServer("mid"), servers: servers({ mid: onward }) });
        expect(plan).toMatchObject({ servers: WHOLE });
      }
    });

    it(`${each.method} from a middle node that goes onward: a credit tells; spent it goes down, else up`, () => {
      for (const onward of ["children", "both"] as const) {
        const given = { ...each, origin: fromServer("mid"), servers: servers({ mid: onward }) };
        expect(ask(given)).toMatchObject({ kind: "credit", server: "mid" });
        expect(ask({ ...given, credit: "spent" })).toMatchObject({ servers: ["low", "lower"] });
        expect(ask({ ...given, credit: "none" })).toMatchObject({ servers: ["root", "mid", "leaf"] });
        expect(ask({ ...given, directoryAvailable: false })).toMatchObject({ status: 500, retryAfter: 10 });
      }
    });

    it(`${each.method} to a middle node that goes onward: one credit for each of its children, no more for the root`, () => {
      const onward = servers({ root: "both", mid: "both", leaf: "both" });
      expect(ask({ ...each, servers: onward })).toMatchObject({ servers: ["root"], credits: {} });
      expect(ask({ ...each, servers: onward, origin: fromServer("root") })).toMatchObject({
        servers: ["mid", "leaf"],
        credits: { mid: 2 },
      });
      expect(ask({ ...each, servers: onward, origin: fromServer("root"), settings: withDown })).toMatchObject({
        credits: {},
      });
    });
  }

  it("a root that does not go onward asks for its own user, one that does for those below it: so it stays when trees change", () => {
    const from = { origin: fromServer("root") };
    expect(subscribe(from)).toMatchObject({ view: { from: "root", direction: "up" } });
    const goesOn = servers({ root: "children" });
    expect(subscribe({ ...from, servers: goesOn })).toMatchObject({ view: { from: "root", direction: "down" } });
  });

  it("the choice among servers is the user's, but for what a server sends down as its part", () => {
    const down = { credit: "spent", servers: MID_GOES_ON, origin: fromServer("mid") } as const;
    expect(message(down)).toMatchObject({ choice: "all" });
    expect(message({ ...down, credit: "none" })).toMatchObject({ choice: "user" });
    expect(message()).toMatchObject({ choice: "user" });
    expect(message({ origin: fromServer("leaf") })).toMatchObject({ choice: "user" });
    expect(message({ origin: fromServer("root") })).toMatchObject({ choice: "user" });
    expect(message({ origin: fromServer("root"), servers: servers({ root: "children" }) })).toMatchObject({
      choice: "all",
    });
  });
});

describe("unioned, MESSAGE and INVITE", () => {
  it("are spread to the servers that can be asked; the others are unasked", () => {
    for (const method of ["MESSAGE", "INVITE"]) {
      expect(
        ask({ method, servers: servers({}, ["mid", "leaf"]), identities: { low: "al@example.com" } }),
      ).toMatchObject({
        kind: "spread",
        servers: ["root", "low", "lower"],
        unasked: ["mid", "leaf"],
        choice: "user",
        credits: {},
        identities: { low: "al@example.com" },
      });
    }
  });

  it("no server can be asked: 480 with Retry-After, a MESSAGE stored where that is asked for", () => {
    const away = { servers: servers({}, NAMES) };
    const store = settings({ unions: UNIONS, absentMessages: "store" });
    for (const method of ["MESSAGE", "INVITE"]) {
      expect(ask({ ...away, method })).toMatchObject({ kind: "reject", status: 480, retryAfter: 10 });
    }
    expect(message({ ...away, settings: store })).toMatchObject({ kind: "store", behindOthers: false });
    expect(ask({ ...away, method: "INVITE", settings: store })).toMatchObject({ status: 480 });
    expect(message({ ...away, settings: store, lookup: NO_RECORD })).toMatchObject({ status: 480 });
  });

  it("while something is stored for him a MESSAGE asks the store first", () => {
    const lookup = { ...NO_BINDING, stored: true } as const;
    expect(message({ lookup })).toMatchObject({ kind: "store", behindOthers: true });
    expect(message({ lookup, mayQueue: false })).toMatchObject({ kind: "spread" });
    expect(ask({ method: "INVITE", lookup })).toMatchObject({ kind: "spread" });
  });

  it("the directory away: routed where nothing can come back, else 500 with Retry-After", () => {
    expect(message({ directoryAvailable: false })).toMatchObject({ kind: "spread" });
    expect(message({ directoryAvailable: false, servers: MID_GOES_ON })).toMatchObject({ status: 500, retryAfter: 10 });
    expect(message({ model: PEER, directoryAvailable: false })).toMatchObject({ kind: "spread" });
    const onward = { model: PEER, directoryAvailable: false, servers: servers({ leaf: "both" }) };
    expect(message(onward)).toMatchObject({ status: 500 });
    expect(message({ ...onward, origin: fromServer("leaf") })).toMatchObject({ status: 500 });
  });

  it("what is below a server that goes onward and is down is reached without it", () => {
    const onward = { root: "both", mid: "both" } as const;
    expect(message({ servers: servers(onward, ["mid"]), origin: fromServer("root") })).toMatchObject({
      servers: ["low", "lower", "leaf"],
      unasked: ["mid"],
      credits: {},
    });
    expect(message({ servers: servers(onward, ["root"]) })).toMatchObject({
      servers: ["mid", "leaf"],
      unasked: ["root"],
      credits: { mid: 2 },
    });
  });
});

describe("peer, MESSAGE and INVITE", () => {
  const onward = servers({ mid: "both" });

  for (const method of ["MESSAGE", "INVITE"]) {
    it(`${method} to a server that goes onward: one credit for each other server of the user`, () => {
      expect(ask({ method, model: PEER, servers: onward })).toMatchObject({
        kind: "spread",
        servers: ["root", "mid", "leaf"],
        credits: { mid: 2 },
        choice: "user",
      });
      expect(ask({ method, model: PEER, servers: onward, origin: fromServer("root") })).toMatchObject({
        servers: ["mid", "leaf"],
        credits: { mid: 2 },
        choice: "user",
      });
    });

    it(`${method} from a server that goes onward: a copy that comes back spends a credit and is 482 with a Warning`, () => {
      const given = { method, model: PEER, servers: onward, origin: fromServer("mid") };
      expect(ask(given)).toMatchObject({ kind: "credit", server: "mid" });
      const back = ask({ ...given, credit: "spent" });
      expect(back).toMatchObject({ kind: "reject", status: 482, phrase: "Loop Detected" });
      expect(back).not.toMatchObject({ warning: null });
      expect(ask({ ...given, credit: "none" })).toMatchObject({ kind: "spread", servers: ["root", "leaf"] });
    });
  }

  it("a server that sends on only what its own users send (`up`) is given none, and asked for none", () => {
    const given = { model: PEER, origin: fromServer("mid"), servers: servers({ mid: "up" }) };
    expect(message(given)).toMatchObject({ kind: "spread", servers: ["root", "leaf"] });
    expect(message({ ...given, origin: fromServer("root") })).toMatchObject({ servers: ["mid", "leaf"], credits: {} });
  });

  it("from a server that sends nothing on, or where there is no other, nobody asks for a credit", () => {
    expect(message({ model: PEER, servers: onward, origin: fromServer("root") })).toMatchObject({ kind: "spread" });
    const all = servers({ mid: "both", root: "both", other: "both" });
    const alone = { model: "unioned", style: "peer", servers: ["mid"] } as const;
    expect(message({ model: alone, servers: all })).toMatchObject({ kind: "spread", servers: ["mid"], credits: {} });
    expect(message({ model: PEER, servers: all, origin: fromServer("other") })).toMatchObject({ kind: "spread" });
  });
});

describe("unioned, what goes to one server only", () => {
  const others = [
    { method: "OPTIONS", event: "" },
    { method: "SUBSCRIBE", event: "dialog" },
    { method: "SUBSCRIBE", event: "presence.winfo" },
  ];

  it("other methods and event packages: his bound server, else the home server, else the root or the first", () => {
    for (const each of others) {
      expect(ask(each)).toMatchObject({ kind: "relay", server: "root" });
      expect(ask({ ...each, model: PEER })).toMatchObject({ kind: "relay", server: "root" });
      const home = settings({ unions: UNIONS, home: "leaf" });
      expect(ask({ ...each, settings: home })).toMatchObject({ kind: "relay", server: "leaf" });
      const lookup = bound("low", "registered");
      expect(ask({ ...each, settings: home, lookup })).toMatchObject({ kind: "relay", server: "low" });
      expect(ask({ ...each, lookup: bound("other", "registered") })).toMatchObject({ server: "root" });
    }
  });

  it("what it answers teaches nothing, and unlearns nothing", () => {
    for (const lookup of [NO_BINDING, bound("low")]) {
      const plan = ask({ method: "OPTIONS", lookup });
      expect(plan).toMatchObject({ binding: { origin: "provisioned", retry: false }, unlearn: null });
    }
  });

  it("that very one asks: 404, so that nothing goes round between servers that send on what they do not know", () => {
    for (const each of [...others, { method: "REGISTER", event: "" }, { method: "PUBLISH", event: "presence" }]) {
      expect(ask({ ...each, origin: fromServer("root") })).toMatchObject({ kind: "reject", status: 404 });
      expect(ask({ ...each, origin: fromServer("mid") })).toMatchObject({ server: "root" });
    }
  });

  it("that one is down: 480 with Retry-After, and no other is asked", () => {
    for (const each of others) {
      expect(ask({ ...each, servers: servers({}, ["root"]) })).toMatchObject({ status: 480, retryAfter: 10 });
    }
  });

  it("a client's REGISTER and PUBLISH go there, and the 2xx of a REGISTER binds", () => {
    const register = { method: "REGISTER", claim: "client" } as const;
    const publish = { method: "PUBLISH", event: "presence", claim: "client" } as const;
    expect(ask(register)).toMatchObject({ kind: "bind", action: "claim", server: "root", relayTo: "root" });
    expect(ask(publish)).toMatchObject({ kind: "relay", server: "root" });
    const home = settings({ unions: UNIONS, home: "other" });
    expect(ask({ ...register, settings: home })).toMatchObject({ relayTo: "root" });
    expect(ask({ ...publish, lookup: bound("leaf", "registered") })).toMatchObject({ server: "leaf" });
    expect(ask({ ...register, servers: servers({}, ["root"]) })).toMatchObject({ status: 480, retryAfter: 10 });
    expect(ask({ ...register, directoryAvailable: false })).toMatchObject({ status: 500 });
  });

  it("a server's own REGISTER or PUBLISH of a user who is on it is acknowledged, and changes no binding", () => {
    const claiming = NAMES.map((name) => server(name, { claims: ["register", "publish"] }));
    for (const model of [HQ, PEER]) {
      for (const claim of ["claim", "deregister", "refresh", "none"] as const) {
        for (const method of ["REGISTER", "PUBLISH"]) {
          const given = { method, event: "presence", model, claim, servers: claiming };
          expect(ask({ ...given, origin: fromServer("leaf") })).toMatchObject({
            kind: "bind",
            action: "none",
            server: "leaf",
            relayTo: null,
          });
          const stranger = ask({ ...given, origin: fromServer("other") });
          expect(stranger).toMatchObject({ kind: "reject", status: 403 });
          expect(stranger).not.toMatchObject({ warning: null });
        }
      }
    }
  });
});

describe("watcher information (RFC 3857), in every model, where rules are kept here", () => {
  const MODELS: readonly Facts["model"][] = [
    HQ,
    PEER,
    { model: "partitioned" },
    { model: "exclusive", conflict: "takeover", refuseWith: 403 },
  ];
  const himself = { aor: facts().aor, trusted: true };

  for (const model of MODELS) {
    const given: Partial<Facts> = {
      method: "SUBSCRIBE",
      event: "presence.winfo",
      model,
      settings: settings({ unions: UNIONS, watcherinfo: true }),
    };
    const name = "style" in model ? model.style : model.model;

    it(`${name}: is told to the user himself, by this proxy`, () => {
      expect(ask({ ...given, sender: himself })).toMatchObject({ kind: "winfo" });
      expect(ask({ ...given, sender: himself, origin: fromServer("leaf") })).toMatchObject({ kind: "winfo" });
    });

    it(`${name}: to nobody else, and to nobody who only says so: 403`, () => {
      expect(ask(given)).toMatchObject({ kind: "reject", status: 403 });
      expect(ask({ ...given, sender: { ...himself, trusted: false } })).toMatchObject({ status: 403 });
      expect(ask({ ...given, event: "presence.winfo.winfo", sender: himself })).toMatchObject({ status: 403 });
    });

    it(`${name}: the directory away: 500 with Retry-After`, () => {
      const plan = ask({ ...given, sender: himself, directoryAvailable: false });
      expect(plan).toMatchObject({ status: 500, retryAfter: 10 });
    });
  }

  it("where none are, it goes as any other event package does", () => {
    const plan = ask({ method: "SUBSCRIBE", event: "presence.winfo", sender: himself });
    expect(plan).toMatchObject({ kind: "relay", server: "root" });
  });
});
