import { describe, expect, it } from "vitest";
import type { AdminOptions } from "../../src/admin/ports.ts";
import type { Check } from "../../src/moving/checker.ts";
import { ask, openDesk } from "./support.ts";

const GONE: Check = {
  aor: "y-1@example.com",
  binding: { aor: "y-1@example.com", server: "east", origin: "registered", epoch: 3, expiresAt: null },
  answers: [
    { server: "east", says: "not-here", detail: "404" },
    { server: "west", says: "unknown", detail: "timeout" },
  ],
  verdict: "gone",
  detail: "east says 404",
};

function checker(): AdminOptions["checker"] & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    askable: ["east", "west"],
    look: async (aor, everybody) => {
      asked.push(`look ${aor} ${everybody}`);
      return { ...GONE, aor };
    },
    repair: async (aor, _nap, everybody) => {
      asked.push(`repair ${aor} ${everybody}`);
      return { ...GONE, aor, verdict: "repaired" };
    },
  };
}

describe("the reconciler", () => {
  it("tells how far it is and what it found, page by page", async () => {
    const desk = await openDesk({ checker: checker() });
    const { reconciliation } = desk.directory;
    await reconciliation.take("proxy-1-x", 60_000);
    await reconciliation.advance("proxy-1-x", "y-7@example.com", 7);
    for (const name of ["y-1", "y-2"]) {
      const finding = { aor: `${name}@example.com`, kind: "pinned", server: "east", epoch: 2, detail: "d" } as const;
      await reconciliation.note(finding);
    }
    const { status, body } = await ask(desk, "GET", "/api/v1/reconciler?limit=1");
    expect([status, body.proxy, body.cursor, body.checked, body.rounds, body.asks]).toEqual([
      200,
      "proxy-1-x",
      "y-7@example.com",
      7,
      0,
      ["east", "west"],
    ]);
    expect(body.findings).toEqual([expect.objectContaining({ aor: "y-2@example.com", kind: "pinned", epoch: 2 })]);
    const rest = await ask(desk, "GET", `/api/v1/reconciler?limit=1&before=${body.next}`);
    expect(rest.body.findings[0].aor).toBe("y-1@example.com");
  });

  it("checks one user: asks every server and changes nothing; with repair it does, and that is audited", async () => {
    const asking = checker();
    const desk = await openDesk({ checker: asking });
    const look = await ask(desk, "POST", "/api/v1/users/sip:y-1@EXAMPLE.com/check");
    expect([look.status, look.body.verdict, look.body.binding.server, look.body.answers]).toEqual([
      200,
      "gone",
      "east",
      GONE.answers,
    ]);
    expect((await desk.directory.audit({ limit: 1 })).length).toBe(0);
    const repair = await ask(desk, "POST", "/api/v1/users/y-1@example.com/check", { repair: true });
    expect(repair.body.verdict).toBe("repaired");
    expect(asking.asked).toEqual(["look y-1@example.com true", "repair y-1@example.com true"]);
    expect((await desk.directory.audit({ limit: 1 }))[0]).toMatchObject({ action: "check-user", actor: "local" });
    expect((await ask(desk, "POST", "/api/v1/users/y-1@elsewhere.org/check")).status).toBe(400);
  });
});
