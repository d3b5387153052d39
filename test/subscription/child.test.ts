import { describe, expect, it } from "vitest";
import { Child, STALE_MS } from "../../src/subscription/child.ts";
import { Granting } from "../../src/subscription/granting.ts";

describe("a child of a composed subscription", () => {
  it("that speaks is as one that always did, whatever was before", () => {
    const child = new Child("east");
    child.isSilent(1_000);
    expect(child.staleAt).toBe(1_000 + STALE_MS);
    child.failures = 2;
    child.retryAt = 5_000;
    expect(child.view).toMatchObject({ away: true, late: false });
    child.failures = 0;
    child.retryAt = 0;
    child.speaks();
    expect(child).toEqual(new Child("east"));
    expect(child.view).toEqual(new Child("east").view);
  });

  it("keeps by itself what is not as usual, and shares nothing of it with another", () => {
    const [one, other] = [new Child("east"), new Child("north")];
    const nothing = () => Promise.resolve();
    const desk = { now: () => 0, after: nothing, failed: () => undefined };
    const granting = new Granting("token", "east", 0, { arrived: nothing, revoke: nothing }, desk);
    one.granted = granting;
    one.restsUntil = 9;
    one.wholeAsked = true;
    one.speaks();
    expect([one.granted, one.restsUntil, one.wholeAsked]).toEqual([granting, 9, true]);
    expect([other.granted, other.restsUntil, other.wholeAsked]).toEqual([null, 0, false]);
  });

  it("that is late is not late again", () => {
    const child = new Child("east");
    child.late = true;
    child.isSilent(1_000);
    expect([child.late, child.staleAt]).toEqual([true, 0]);
  });
});
