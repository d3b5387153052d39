import { afterEach, describe, expect, it } from "vitest";
import { ALICE, AOR, partsOf, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** models.md, "Composition": one document of several servers, by one dialog with the watcher. */

let domain: Unioned;
let watcher: Watcher;

afterEach(() => domain.world.stop());

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

const seen = (): string[][] => watcher.told.map((each) => [each.state, ...partsOf(each.body)]);

async function expectNothingLeft(): Promise<void> {
  await domain.wait(100_000);
  expect(await domain.rows()).toEqual([]);
  for (const { services } of domain.world.proxies) {
    expect([services.subscriptions.size, services.subscriptions.leftovers]).toEqual([0, 0]);
    expect(services.subscriptions.documents.size).toBe(0);
  }
}

describe("a SUBSCRIBE to a user of several servers", () => {
  it("gets 200 and a bodiless `pending` NOTIFY at once, then one document of all of them", async () => {
    await begin();
    const ok = await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    expect([ok.status, ok.expires]).toEqual([200, 600]);
    expect(seen()).toEqual([["pending"], ["active", "east open", "west open"]]);
    expect(watcher.told[0]).toMatchObject({ body: "", expires: 600 });
    expect(watcher.last!.request.header("Content-Type")).toBe("application/pidf+xml");
    expect(await domain.rows()).toMatchObject([{ aor: AOR, kind: "composed", legServer: "east,west" }]);
    await watcher.refresh(0);
    await expectNothingLeft();
  });
});
