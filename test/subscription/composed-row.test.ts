import { describe, expect, it } from "vitest";
import { beginSubscriber } from "../../src/sip/dialog/subscriber.ts";
import { Child, STALE_MS } from "../../src/subscription/child.ts";
import { Composed } from "../../src/subscription/composed.ts";
import { packAsked, packChildren, standingsIn, unpackComposed } from "../../src/subscription/composed-row.ts";
import { Leg } from "../../src/subscription/leg.ts";
import { fc } from "../support/fast-check.ts";

const RULES = { maxExpires: 86_400, timerNMs: 32_000, backOff: { firstMs: 1, mostMs: 2 }, reserve: 16 };

const NAMES = { id: "cdm-1", aor: "u@example.com", watcher: "w@example.com" };

function composed(instance = "", direction: "up" | "down" = "up", spender = ""): Composed {
  return new Composed({
    view: { from: "west", direction },
    maxForwards: 69,
    session: "ab".repeat(16),
    instance,
    visits: true,
    isFetch: false,
    spender,
    union: null,
  });
}

function child(server: string, standing: Child["standing"], dialog: string | null, number = 1): Child {
  const made = new Child(server);
  made.standing = standing;
  if (dialog === null) return made;
  const { state } = beginSubscriber(0, 3600, 16, RULES);
  made.leg = new Leg(NAMES, number, server, 0, "call", {
    ...state,
    heard: 7,
  });
  made.leg.dialog = dialog;
  made.leg.notified = true;
  return made;
}

function stored(of: Composed) {
  const { leg, legServer, legReserved } = packChildren(of);
  return {
    row: { origin: "west", leg, legReserved },
    legServer,
    cell: `at${packAsked(of)}`,
  };
}

describe("the row of a composed subscription", () => {
  it("brings back every leg, who has consented, who has not decided, and what the legs carry", () => {
    const before = composed('<urn:uuid:0"c d>', "down", "who spent");
    before.children = [
      child("east", "confirmed", "a\n\nb", 3),
      child("north", "confirmed", null),
      child("south", "pending", "c\n", 4),
      child("alpha", "asked", "d", 5),
      child("gone", "out", null),
    ];
    const { row, legServer, cell } = stored(before);
    expect(legServer).toBe("east,south,alpha");
    const after = unpackComposed(NAMES, row, cell, 32, 1_000);
    expect(after).toMatchObject({ maxForwards: 69, session: before.session, instance: before.instance, visits: true });
    expect(after.view).toEqual({ from: "west", direction: "down" });
    expect(after.spender).toBe("who spent");
    expect(after.children.map((each) => [each.server, each.standing, each.leg?.number, each.leg?.dialog])).toEqual([
      ["east", "confirmed", 3, "a\n\nb"],
      ["north", "confirmed", undefined, undefined],
      ["south", "pending", 4, "c\n"],
      ["alpha", "asked", 5, "d"],
      ["gone", "out", undefined, undefined],
    ]);
    // Nothing is known of what they have to show, and they are waited for; who had dropped out is not.
    expect(after.children.map((each) => [each.epoch, each.staleAt])).toEqual([
      ...Array.from({ length: 4 }, () => [0, 1_000 + STALE_MS]),
      [0, 0],
    ]);
    expect(after.children[0]!.leg!.machine).toMatchObject({ heard: 7, sent: 32, reserved: row.legReserved });
  });

  it("brings back who may be left out, and that it goes on in another's chain; a row that says neither is read as before", () => {
    const before = composed();
    before.isBehind = true;
    before.children = [child("east", "confirmed", "a"), child("west", "asked", null)];
    before.children[1]!.optional = true;
    const { row, cell } = stored(before);
    const after = unpackComposed(NAMES, row, cell, 32, 0);
    expect([after.isBehind, after.visits, after.children.map(({ optional }) => optional)]).toEqual([
      true,
      true,
      [false, true],
    ]);
    const old = unpackComposed(
      NAMES,
      { ...row, leg: row.leg!.replace(" m\n", "\n") },
      cell.replace(" vb ", " v "),
      32,
      0,
    );
    expect([old.isBehind, old.visits, old.children.map(({ optional }) => optional)]).toEqual([
      false,
      true,
      [false, false],
    ]);
    expect(old.children[0]!.leg!.dialog).toBe("a");
  });

  it("reserves CSeqs for all legs at once: those of the one that has used most", () => {
    const before = composed();
    before.children = [child("east", "confirmed", "a"), child("west", "confirmed", "b", 2)];
    const { leg } = before.children[1]!;
    leg!.machine = { ...leg!.machine, sent: 40, reserved: 48 };
    expect(packChildren(before).legReserved).toBe(56);
  });

  it("has no leg where nobody has said anything", () => {
    const before = composed();
    before.children = [child("east", "asked", null), child("west", "out", null)];
    expect(packChildren(before)).toMatchObject({ legServer: null, legReserved: 0 });
    expect(packChildren(composed())).toEqual({ leg: null, legServer: null, legReserved: 0 });
  });

  it("tells people who has confirmed", () => {
    const before = composed();
    before.children = [child("east", "confirmed", "a"), child("west", "pending", null), child("north", "asked", "b")];
    expect(standingsIn(packChildren(before).leg)).toEqual([
      { server: "east", standing: "confirmed" },
      { server: "west", standing: "pending" },
      { server: "north", standing: "asked" },
    ]);
    expect(standingsIn(null)).toEqual([]);
  });

  it("keeps what a device calls itself apart from the flags, whatever it is", () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 40 }).filter((text) => !/\p{Surrogate}/u.test(text)),
        (instance) => {
          const { row, cell } = stored(composed(instance));
          expect(cell).not.toContain("\n");
          expect(unpackComposed(NAMES, row, cell, 0, 0).instance).toBe(instance);
        },
      ),
    );
  });
});
