import { afterEach, describe, expect, it } from "vitest";
import { Exclusive } from "../support/exclusive.ts";
import { ALICE, told, Unioned, type UnionedOptions } from "../support/unioned.ts";
import { Watcher } from "../support/watcher.ts";

/** What a B2BUA passes on so that nothing goes round for ever: RFC 7332; and what names a session end to end: RFC 7989. */

let domain: Unioned;
let watcher: Watcher;

const A = "ab".repeat(16);
const B = "cd".repeat(16);
const NIL = "0".repeat(32);

async function begin(options: UnionedOptions = {}): Promise<void> {
  domain = new Unioned();
  await domain.begin(options);
  watcher = new Watcher(domain.world, "127.0.0.50");
}

describe("Max-Breadth (RFC 7332 6: as a forking proxy, RFC 5393 5.3.3)", () => {
  afterEach(() => domain.world.stop());

  it("is shared out over the legs, and the sum is what came at most", async () => {
    await begin();
    await watcher.subscribe(ALICE, 600, { headers: [["Max-Breadth", "7"]] });
    await domain.wait(1_000);
    const given = [domain.east, domain.west].map((each) => Number(each.firsts[0]!.header("Max-Breadth")));
    expect(given).toEqual([3, 3]);
  });

  it("is made where the request has none, 60 at most in all", async () => {
    await begin();
    await watcher.subscribe(ALICE);
    await domain.wait(1_000);
    const given = [domain.east, domain.west].map((each) => Number(each.firsts[0]!.header("Max-Breadth")));
    expect(given).toEqual([30, 30]);
  });

  it("that is not enough for all servers: 440, and nobody is asked", async () => {
    await begin();
    expect((await watcher.subscribe(ALICE, 600, { headers: [["Max-Breadth", "1"]] })).status).toBe(440);
    await domain.wait(1_000);
    expect([domain.east.firsts, domain.west.firsts, told(watcher)]).toEqual([[], [], []]);
  });
});

describe("Max-Forwards (RFC 7332 5)", () => {
  it("of the request, less one, is that of an exclusive user's leg too", async () => {
    const exclusive = new Exclusive();
    await exclusive.begin();
    await exclusive.bind("east");
    const asking = new Watcher(exclusive.world, "127.0.0.50");
    await asking.subscribe(ALICE, 600, { maxForwards: 9, headers: [["Max-Breadth", "5"]] });
    await exclusive.wait(1_000);
    const first = exclusive.east.firsts[0]!;
    expect([first.maxForwards, first.header("Max-Breadth")]).toEqual([8, "5"]);
    await exclusive.world.stop();
  });
});

describe("Session-ID of a composed subscription", () => {
  afterEach(() => domain.world.stop());

  it("to its watcher: his UUID as the remote one, and nil as the local one of several servers (RFC 7989 7)", async () => {
    await begin();
    const ok = await watcher.subscribe(ALICE, 600, { headers: [["Session-ID", `${A};remote=${NIL}`]] });
    await domain.wait(1_000);
    expect(ok.header("Session-ID")).toBe(`${NIL};remote=${A}`);
    expect(watcher.told.map(({ request }) => request.header("Session-ID"))).toEqual([
      `${NIL};remote=${A}`,
      `${NIL};remote=${A}`,
    ]);
  });

  it("to a server: what it has said is its own UUID is the remote one from then on (RFC 7989 6)", async () => {
    await begin();
    domain.west.policy = () => ({ status: 200, headers: [["Session-ID", `${B};remote=${A}`]], expires: 60 });
    domain.east.policy = () => ({ status: 200, headers: [["Session-ID", `${NIL};remote=${A}`]], expires: 60 });
    await watcher.subscribe(ALICE, 600, { headers: [["Session-ID", `${A};remote=${NIL}`]] });
    await domain.wait(40_000);
    const refreshes = [domain.west, domain.east].map((each) => each.served[0]!.subscribes[1]!.header("Session-ID"));
    expect(refreshes).toEqual([`${A};remote=${B}`, `${A};remote=${NIL}`]);
    const answers = [domain.west, domain.east].map((each) =>
      each.served[0]!.notifies.at(-1)!.responses.at(-1)!.header("Session-ID"),
    );
    expect(answers).toEqual([`${A};remote=${B}`, `${A};remote=${NIL}`]);
  });
});
