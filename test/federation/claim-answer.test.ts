import { describe, expect, it } from "vitest";
import type { Binding, ClaimOutcome } from "../../src/directory/directory.ts";
import { answerToClaim, warningValue } from "../../src/federation/claim-answer.ts";
import { AOR } from "./make.ts";

function binding(server: string, origin: Binding["origin"] = "registered"): Binding {
  return { aor: AOR, server, origin, epoch: 2, expiresAt: null };
}

describe("the answer to a claim", () => {
  it("is 200 where the claimant holds the user now", () => {
    const outcome: ClaimOutcome = { outcome: "bound", binding: binding("east"), changed: true, previous: null };
    expect(answerToClaim(outcome, "east", 403)).toMatchObject({ status: 200, warning: null });
  });

  it("is 403 with a Warning naming the holder", () => {
    const answer = answerToClaim({ outcome: "held-by", binding: binding("west") }, "east", 403);
    expect(answer).toMatchObject({ status: 403, redirectTo: null });
    expect(answer.warning).toContain("west");
  });

  it("is 302 to the holder where so configured", () => {
    expect(answerToClaim({ outcome: "held-by", binding: binding("west") }, "east", 302)).toMatchObject({
      status: 302,
      redirectTo: "west",
    });
  });

  it("is 403 where the user is provisioned, whatever is configured", () => {
    const answer = answerToClaim({ outcome: "held-by", binding: binding("west", "provisioned") }, "east", 302);
    expect(answer).toMatchObject({ status: 403, redirectTo: null });
    expect(answer.warning).toContain("provisioned");
  });

  it("is 403 with a Warning for a late refresh", () => {
    const answer = answerToClaim({ outcome: "stale", binding: binding("west") }, "east", 302);
    expect(answer).toMatchObject({ status: 403, redirectTo: null });
    expect(answer.warning).toContain("west");
    expect(answerToClaim({ outcome: "stale", binding: null }, "east", 403)).toMatchObject({ status: 403 });
  });

  it("is 403 with Retry-After, naming the holder, where he was taken too often, never 302", () => {
    const answer = answerToClaim({ outcome: "damped", binding: binding("west") }, "east", 302, 59_500);
    expect(answer).toMatchObject({ status: 403, redirectTo: null, retryAfter: 60 });
    expect(answer.warning).toContain("west");
  });

  it("is a failure for what the holder sent out of order (RFC 3261 10.3 step 7)", () => {
    expect(answerToClaim({ outcome: "stale", binding: binding("east") }, "east", 403)).toMatchObject({ status: 500 });
  });
});

describe("a Warning", () => {
  it("has code, agent and the text quoted (RFC 3261 20.43)", () => {
    expect(warningValue("sip.example.com", 'held by "west\\1"')).toBe('399 sip.example.com "held by \\"west\\\\1\\""');
  });
});
