import { describe, expect, it } from "vitest";
import { seedRules } from "../../src/admin/rule-edits.ts";
import { ask, openDesk } from "./support.ts";

const ALICE = "/api/v1/users/alice@example.com";
const RULES = seedRules("pres-rules", "confirm");
const wayOf = () => "root-only" as const;
const defaultsOf = () => ({ presence: "confirm", contact: "allow" }) as const;

describe("users' documents over the API", () => {
  it("are written, told with their tag, listed and removed", async () => {
    const desk = await openDesk();
    expect((await ask(desk, "GET", `${ALICE}/documents/pres-rules`)).body.error.code).toBe("no-document");
    const put = await ask(desk, "PUT", `${ALICE}/documents/pres-rules`, { text: RULES });
    expect([put.status, put.body.created, put.body.warnings]).toEqual([200, true, []]);
    const got = await ask(desk, "GET", `${ALICE}/documents/pres-rules`);
    expect(got.body).toMatchObject({ aor: "alice@example.com", kind: "pres-rules", text: RULES, etag: put.body.etag });
    expect(got.headers["etag"]).toBe(`"${put.body.etag}"`);
    const list = await ask(desk, "GET", `${ALICE}/documents`);
    expect(list.body.documents).toMatchObject([{ kind: "pres-rules", octets: RULES.length }]);
    expect((await ask(desk, "DELETE", `${ALICE}/documents/pres-rules`)).status).toBe(204);
    expect((await ask(desk, "DELETE", `${ALICE}/documents/pres-rules`)).status).toBe(404);
  });

  it("what its reader cannot read is refused and says why; what has no effect is told", async () => {
    const desk = await openDesk();
    const bad = await ask(desk, "PUT", `${ALICE}/documents/pres-rules`, { text: RULES.replace("confirm", "perhaps") });
    expect([bad.status, bad.body.error.code, bad.body.error.field]).toEqual([400, "bad-document", "text"]);
    expect(bad.body.error.message).toContain("codomain-default");
    for (const kind of ["pres-rules", "im-rules", "im-routing"]) {
      expect((await ask(desk, "PUT", `${ALICE}/documents/${kind}`, { text: "<x/>" })).status).toBe(400);
    }
    const odd = RULES.replace("<actions>", '<actions><more xmlns="urn:x"/>');
    const put = await ask(desk, "PUT", `${ALICE}/documents/pres-rules`, { text: odd });
    expect(put.body.warnings).toEqual(["Rule codomain-default: The action <more> is not known, and grants nothing."]);
    expect((await ask(desk, "PUT", `${ALICE}/documents/other`, { text: RULES })).status).toBe(400);
  });

  it("If-Match and If-None-Match: 412 where another was there first", async () => {
    const desk = await openDesk();
    const path = `${ALICE}/documents/pres-rules`;
    const { etag } = (await ask(desk, "PUT", path, { text: RULES }, { "if-none-match": "*" })).body;
    const other = RULES.replace("confirm", "block");
    expect((await ask(desk, "PUT", path, { text: other }, { "if-none-match": "*" })).status).toBe(412);
    expect((await ask(desk, "PUT", path, { text: other }, { "if-match": '"x"' })).body.error.code).toBe(
      "changed-meanwhile",
    );
    expect((await ask(desk, "DELETE", path, undefined, { "if-match": '"x"' })).status).toBe(412);
    expect((await ask(desk, "PUT", path, { text: other }, { "if-match": `"${etag}"` })).status).toBe(200);
  });
});

describe("rules without XML", () => {
  it("the first edit of a user keeps the domain's default for everybody else", async () => {
    const desk = await openDesk({ policy: { wayOf, defaultsOf, changed: () => undefined } });
    const blocked = await ask(desk, "POST", `${ALICE}/rules/block`, { watcher: "sip:bob@EXAMPLE.com" });
    expect(blocked.body).toMatchObject({
      watcher: "bob@example.com",
      handling: "block",
      kind: "pres-rules",
      changed: true,
    });
    const again = await ask(desk, "POST", `${ALICE}/rules/block`, { watcher: "bob@example.com" });
    expect(again.body).toMatchObject({ changed: false, etag: blocked.body.etag });
    await ask(desk, "POST", `${ALICE}/rules/allow`, { watcher: "carol@other.net" });
    const { body } = await ask(desk, "GET", `${ALICE}/rules`);
    expect(body.presence.rules).toEqual([
      {
        id: "codomain-default",
        who: ["anybody"],
        except: ["bob@example.com"],
        when: [],
        handling: "confirm",
        shows: "nothing",
        methods: [],
      },
      {
        id: "codomain-block",
        who: ["bob@example.com"],
        except: [],
        when: [],
        handling: "block",
        shows: "nothing",
        methods: [],
      },
      {
        id: "codomain-allow",
        who: ["carol@other.net"],
        except: [],
        when: [],
        handling: "allow",
        shows: "everything",
        methods: [],
      },
    ]);
    expect(body.messages).toEqual({ etag: null, rules: [], warnings: [] });
    expect(body.defaults).toEqual(defaultsOf());
  });

  it("messages and calls are allowed or blocked, nothing between", async () => {
    const desk = await openDesk({ policy: { wayOf, defaultsOf, changed: () => undefined } });
    const about = { watcher: "bob@example.com", about: "messages" };
    expect((await ask(desk, "POST", `${ALICE}/rules/confirm`, about)).body.error.code).toBe("bad-handling");
    expect((await ask(desk, "POST", `${ALICE}/rules/block`, about)).status).toBe(200);
    const { body } = await ask(desk, "GET", `${ALICE}/rules`);
    expect(body.messages.rules).toMatchObject([
      { who: ["anybody"], except: ["bob@example.com"], handling: "allow", methods: ["MESSAGE", "INVITE"] },
      { who: ["bob@example.com"], handling: "block" },
    ]);
    expect(body.presence.etag).toBeNull();
  });

  it("a rule for everybody is named where it is in the way: 409", async () => {
    const desk = await openDesk();
    const text = RULES.replace(/<conditions>.*<\/conditions>/, "<conditions/>");
    await ask(desk, "PUT", `${ALICE}/documents/pres-rules`, { text });
    const answer = await ask(desk, "POST", `${ALICE}/rules/block`, { watcher: "bob@example.com" });
    expect([answer.status, answer.body.error.code]).toEqual([409, "rule-for-all"]);
    expect(answer.body.error.message).toContain("codomain-default");
  });

  it.each([
    [{ watcher: "bob" }, "bad-aor"],
    [{ watcher: "bob@example.com", about: "x" }, "invalid"],
    [{}, "invalid"],
  ])("%j is refused: %s", async (body, code) => {
    const desk = await openDesk();
    const answer = await ask(desk, "POST", `${ALICE}/rules/allow`, body);
    expect([answer.status, answer.body.error.code]).toEqual([400, code]);
  });
});

describe("routing", () => {
  it("is set and told; servers that there are not are refused", async () => {
    const desk = await openDesk();
    expect((await ask(desk, "GET", `${ALICE}/routing`)).body).toEqual({ algorithm: "all", weights: {}, etag: null });
    const put = await ask(desk, "PUT", `${ALICE}/routing`, { algorithm: "weighted", weights: { east: 3, west: 1 } });
    expect(put.body).toEqual({ algorithm: "weighted", weights: { east: 3, west: 1 }, etag: expect.any(String) });
    expect((await ask(desk, "GET", `${ALICE}/routing`)).body).toEqual(put.body);
    const bad = await ask(desk, "PUT", `${ALICE}/routing`, { algorithm: "weighted", weights: { nowhere: 3 } });
    expect([bad.status, bad.body.error.field]).toEqual([400, "weights"]);
    expect((await ask(desk, "PUT", `${ALICE}/routing`, { algorithm: "best" })).status).toBe(400);
  });
});

describe("a decision point that decides otherwise", () => {
  it("is heard: for one user, or for all", async () => {
    const heard: (string | null)[] = [];
    const desk = await openDesk({ policy: { wayOf, defaultsOf, changed: (aor) => void heard.push(aor) } });
    expect((await ask(desk, "POST", "/api/v1/policy/changed", { aor: "alice@example.com" })).status).toBe(202);
    expect((await ask(desk, "POST", "/api/v1/policy/changed", {})).status).toBe(202);
    expect((await ask(desk, "POST", "/api/v1/policy/changed", { aor: "x@elsewhere.org" })).status).toBe(400);
    expect(heard).toEqual(["alice@example.com", null]);
    expect((await ask(await openDesk(), "POST", "/api/v1/policy/changed", {})).status).toBe(404);
  });
});
