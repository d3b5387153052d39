import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Change } from "../../src/directory/directory.ts";
import { etagOf, MOST_TEXT } from "../../src/directory/user-documents.ts";
import type { Harness } from "./harness.ts";

const JOE = "joe@example.com";
const ANN = "ann@example.com";
const TEXT = '<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="ä “1”"/></ruleset>';

export function userDocumentsContract(name: string, open: () => Promise<Harness>): void {
  describe(`the contract of users' documents: ${name}`, () => {
    let h: Harness;
    beforeEach(async () => {
      h = await open();
    });
    afterEach(async () => {
      await h.close();
    });

    const put = (text = TEXT, when = {}, aor = JOE) =>
      h.run(h.east.documents.put(aor, "pres-rules", text, when, "joe"));
    const get = (aor = JOE) => h.run(h.west.documents.get(aor, "pres-rules"));
    const remove = (when = {}, aor = JOE) => h.run(h.west.documents.remove(aor, "pres-rules", when, "joe"));
    const written = (text: string, created: boolean) => ({ outcome: "written", etag: etagOf(text), created });

    it("that a decision point decides otherwise is told to every proxy, of one user or of all", async () => {
      const told: string[] = [];
      const ends = [h.east, h.west].map((directory) =>
        directory.onChange((change) => void (change.kind === "verdicts" && told.push(change.aor))),
      );
      await h.run(h.east.tellVerdicts(JOE));
      await h.run(h.west.tellVerdicts(""));
      await h.eventually(() => told.length >= 4);
      for (const end of ends) end();
      expect(told.sort()).toEqual(["", "", JOE, JOE]);
    });

    it("is kept as it was written, until it is replaced or removed", async () => {
      expect(await get()).toBeNull();
      const before = h.now();
      expect(await put()).toEqual(written(TEXT, true));
      expect(await get()).toEqual({
        aor: JOE,
        kind: "pres-rules",
        etag: etagOf(TEXT),
        text: TEXT,
        changedAt: expect.any(Number),
      });
      expect(Math.abs((await get())!.changedAt - before)).toBeLessThan(10_000);
      expect(await put("<other/>")).toEqual(written("<other/>", false));
      expect((await get())?.text).toBe("<other/>");
      expect(await remove()).toEqual(written("<other/>", false));
      expect(await get()).toBeNull();
      expect(await remove()).toEqual({ outcome: "failed", etag: null });
    });

    it("each kind of each user is one by itself", async () => {
      await put();
      expect(await h.run(h.west.documents.get(JOE, "im-rules"))).toBeNull();
      expect(await get(ANN)).toBeNull();
      await h.run(h.east.documents.put(JOE, "im-routing", "<r/>", {}, "joe"));
      await remove();
      expect((await h.run(h.west.documents.get(JOE, "im-routing")))?.text).toBe("<r/>");
    });

    it("If-None-Match: * creates and never replaces (RFC 9110 13.1.2)", async () => {
      expect(await put(TEXT, { noneMatch: "*" })).toEqual(written(TEXT, true));
      expect(await put("<other/>", { noneMatch: "*" })).toEqual({ outcome: "failed", etag: etagOf(TEXT) });
      expect(await put("<other/>", { noneMatch: [etagOf(TEXT)] })).toEqual({ outcome: "failed", etag: etagOf(TEXT) });
      expect(await put("<other/>", { noneMatch: ["else"] })).toEqual(written("<other/>", false));
    });

    it("If-Match replaces and removes only what it names (RFC 9110 13.1.1)", async () => {
      expect(await put(TEXT, { match: "*" })).toEqual({ outcome: "failed", etag: null });
      expect(await put(TEXT, { match: ["else"] })).toEqual({ outcome: "failed", etag: null });
      await put();
      expect(await put("<other/>", { match: ["else"] })).toEqual({ outcome: "failed", etag: etagOf(TEXT) });
      expect(await put("<other/>", { match: ["else", etagOf(TEXT)] })).toEqual(written("<other/>", false));
      expect(await put("<third/>", { match: "*" })).toEqual(written("<third/>", false));
      expect(await remove({ match: [etagOf(TEXT)] })).toEqual({ outcome: "failed", etag: etagOf("<third/>") });
      expect(await remove({ match: [etagOf("<third/>")] })).toMatchObject({ outcome: "written" });
      expect(await remove({ match: "*" })).toEqual({ outcome: "failed", etag: null });
    });

    it("a write can be repeated with the same outcome (concurrency.md 9), and is told and audited once", async () => {
      const told: Change[] = [];
      const end = h.west.onChange((change) => told.push(change));
      await put();
      const when = { match: [etagOf(TEXT)] };
      expect(await put("<other/>", when)).toEqual(written("<other/>", false));
      expect(await put("<other/>", when)).toEqual(written("<other/>", false));
      await h.run(h.east.putUser({ aor: ANN, model: null, settings: {}, identities: {} }, "t"));
      await h.eventually(() => told.some((change) => change.kind === "user"));
      end();
      expect(told.filter((change) => change.kind === "document")).toHaveLength(2);
      const audit = await h.run(h.east.audit({ aor: JOE, limit: 10 }));
      expect(audit.map((each) => each.action)).toEqual(["put-document", "put-document"]);
    });

    it("of many who write at once by the same etag one does; the others are told what is there", async () => {
      await put("<0/>");
      for (let round = 0; round < 5; round++) {
        const match = [(await get())!.etag];
        const outcomes = await h.run(
          Promise.all(
            Array.from({ length: 8 }, (_, i) =>
              (i % 2 === 0 ? h.east : h.west).documents.put(JOE, "pres-rules", `<r${round}.${i}/>`, { match }, "t"),
            ),
          ),
        );
        const won = outcomes.filter((each) => each.outcome === "written");
        expect(won).toHaveLength(1);
        expect(new Set(outcomes.map((each) => each.etag))).toEqual(new Set([won[0]!.etag]));
        expect((await get())!.etag).toBe(won[0]!.etag);
      }
    });

    it("of many who create at once one does; where all may write, all have", async () => {
      const all = (when: object) =>
        h.run(
          Promise.all(
            Array.from({ length: 6 }, (_, i) =>
              (i % 2 === 0 ? h.east : h.west).documents.put(JOE, "pres-rules", `<r${i}/>`, when, "t"),
            ),
          ),
        );
      expect((await all({ noneMatch: "*" })).filter((each) => each.outcome === "written")).toHaveLength(1);
      expect((await all({})).filter((each) => each.outcome === "written")).toHaveLength(6);
    });

    it("every change is told, on the own proxy before the answer, and audited without the text", async () => {
      const own: Change[] = [];
      const other: Change[] = [];
      const ends = [h.east.onChange((change) => own.push(change)), h.west.onChange((change) => other.push(change))];
      await put();
      const change = { kind: "document", aor: JOE, document: "pres-rules" };
      expect(own).toContainEqual(change);
      await h.eventually(() => other.some((each) => each.kind === "document"));
      expect(other).toContainEqual(change);
      await h.run(h.east.documents.remove(JOE, "pres-rules", {}, "admin"));
      await h.eventually(() => other.filter((each) => each.kind === "document").length >= 2);
      for (const end of ends) end();
      const [removed, created] = await h.run(h.west.audit({ aor: JOE, limit: 10 }));
      const is = { kind: "pres-rules", etag: etagOf(TEXT) };
      expect(created).toMatchObject({
        actor: "joe",
        action: "put-document",
        before: null,
        after: { ...is, octets: Buffer.byteLength(TEXT) },
      });
      expect(removed).toMatchObject({ actor: "admin", action: "remove-document", before: is, after: null });
    });

    it("goes with the user, who needs no record to have one; each is told", async () => {
      await put();
      await h.run(h.east.documents.put(JOE, "im-rules", "<r/>", {}, "joe"));
      await put(TEXT, {}, ANN);
      const told: Change[] = [];
      const end = h.west.onChange((change) => told.push(change));
      expect(await h.run(h.east.removeUser(JOE, "admin"))).toBe(true);
      expect(await h.run(h.east.removeUser(JOE, "admin"))).toBe(false);
      await h.eventually(() => told.filter((each) => each.kind === "document").length >= 2);
      end();
      expect(told.filter((each) => each.kind === "document").map((each) => each.document)).toEqual(
        expect.arrayContaining(["pres-rules", "im-rules"]),
      );
      expect(await get()).toBeNull();
      expect(await h.run(h.west.documents.get(JOE, "im-rules"))).toBeNull();
      expect(await get(ANN)).not.toBeNull();
    });

    it("those of one kind are listed in order of the AoR, in pages", async () => {
      const aors = ["a@x", "b@x", "c@x", "d@x"];
      for (const aor of [...aors].reverse()) await put(`<${aor[0]}/>`, {}, aor);
      await h.run(h.east.documents.put("e@x", "im-rules", "<e/>", {}, "t"));
      const list = async (after: string | undefined, limit: number) =>
        (
          await h.run(h.west.documents.list({ kind: "pres-rules", limit, ...(after === undefined ? {} : { after }) }))
        ).map(({ aor, text }) => [aor, text]);
      expect(await list(undefined, 3)).toEqual([
        ["a@x", "<a/>"],
        ["b@x", "<b/>"],
        ["c@x", "<c/>"],
      ]);
      expect(await list("c@x", 3)).toEqual([["d@x", "<d/>"]]);
      expect(await list(undefined, 0)).toEqual([]);
    });

    it("what cannot be stored is the caller's fault, and nobody's", async () => {
      const fits = "ä".repeat(MOST_TEXT / 2);
      expect(await put(fits)).toMatchObject({ outcome: "written" });
      expect((await get())?.text).toBe(fits);
      await expect(put(`${fits}a`)).rejects.toThrow(RangeError);
      await expect(put("a\0b")).rejects.toThrow(RangeError);
      await expect(put(TEXT, {}, "joe\0@example.com")).rejects.toThrow(RangeError);
      expect(await get("joe\0@example.com")).toBeNull();
      expect(await remove({}, "joe\0@example.com")).toEqual({ outcome: "failed", etag: null });
    });
  });
}
