import { describe, expect, it } from "vitest";
import type { SubscriptionState, SubscriptionStore } from "../../src/directory/subscriptions.ts";
import { resumeNotifier } from "../../src/sip/dialog/notifier.ts";
import { Rows } from "../../src/subscription/rows.ts";
import { Subscription } from "../../src/subscription/subscription.ts";

/** A store that answers when it is told to, and notes what it was asked to write. */
function slowStore() {
  const written: SubscriptionState[] = [];
  const answers: Array<(saved: "done" | "lost") => void> = [];
  const update: SubscriptionStore["update"] = (_owner, _id, _fence, state) => {
    written.push(state);
    return new Promise((resolve) => answers.push(resolve));
  };
  const rows = new Rows({ update } as SubscriptionStore, () => "owner", {
    moment: () => ({ now: 1000, wall: 5000 }),
    reserved: () => undefined,
  });
  return { rows, written, answers };
}

function subscription(): Subscription {
  const identity = {
    id: "cdm-1",
    kind: "presence",
    aor: "alice@example.com",
    watcher: "bob@example.com",
    origin: null,
    event: "presence",
    fence: 1,
    extendedEpoch: 0,
  } as const;
  const notifier = resumeNotifier({ phase: "pending", until: 60_000, heard: 1, sent: 0, reserved: 16 });
  return new Subscription({ due: () => undefined }, identity, "dialog", notifier);
}

describe("the rows of subscriptions", () => {
  it("what was asked to be written twice at a time, and is the same, is written once", async () => {
    const { rows, written, answers } = slowStore();
    const one = subscription();
    const saves = [rows.save(one), rows.save(one)];
    answers[0]?.("done");
    expect(await Promise.all(saves)).toEqual(["done", "done"]);
    expect(written).toHaveLength(1);
  });

  it("what has changed since a write began is written after it, and nobody is answered before", async () => {
    const { rows, written, answers } = slowStore();
    const one = subscription();
    const first = rows.save(one);
    one.extendedEpoch = 7;
    let second: string | null = null;
    const later = rows.save(one).then((saved) => {
      second = saved;
    });
    answers[0]?.("done");
    expect(await first).toBe("done");
    expect([second, written.map((state) => state.extendedEpoch)]).toEqual([null, [0, 7]]);
    answers[1]?.("done");
    await later;
    expect(second).toBe("done");
  });

  it("CSeqs that were used since are reserved by another write", async () => {
    const { rows, written, answers } = slowStore();
    const one = subscription();
    const saves = [rows.save(one), rows.save(one)];
    one.notifier = { ...one.notifier, sent: 9 };
    answers[0]?.("done");
    await saves[0];
    answers[1]?.("done");
    expect(await saves[1]).toBe("done");
    expect(written.map((state) => state.notifyReserved)).toEqual([16, 25]);
  });

  it("a row that is lost is not written again", async () => {
    const { rows, written, answers } = slowStore();
    const one = subscription();
    const saves = [rows.save(one), rows.save(one)];
    one.extendedEpoch = 7;
    answers[0]?.("lost");
    expect(await Promise.all(saves)).toEqual(["lost", "lost"]);
    expect(written).toHaveLength(1);
  });
});
