import { createHash } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { childrenOf, parseXml, textOf } from "../../src/presence/xml.ts";
import { ask, openDesk, TOKEN } from "./support.ts";

const RULES = `<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
  <rule id="friends">
    <conditions><identity><one id="sip:bob@example.com"/></identity></conditions>
    <actions><pr:sub-handling>allow</pr:sub-handling></actions>
    <transformations/>
  </rule>
</ruleset>
`;
const TYPE = "application/auth-policy+xml";
const ELEMENT = "application/xcap-el+xml";
const ATTRIBUTE = "application/xcap-att+xml";
const CP = "?xmlns(cp=urn:ietf:params:xml:ns:common-policy)xmlns(pr=urn:ietf:params:xml:ns:pres-rules)";
const INDEX = "/xcap/pres-rules/users/sip:alice@example.com/index";
const RULE = `${INDEX}/~~/cp:ruleset/cp:rule%5B@id=%22friends%22%5D`;

interface Sent {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
  readonly etag: string | null;
}

type Send = (
  method: string,
  path: string,
  body?: string | Uint8Array,
  headers?: Readonly<Record<string, string>>,
) => Promise<Sent>;

/** A server on a port of its own; `as` gives a client with Basic credentials, or with a header of its own. */
async function open() {
  const desk = await openDesk({ listen: { host: "127.0.0.1", port: 0, token: TOKEN } });
  const token = { authorization: `Bearer ${TOKEN}` };
  for (const [aor, password] of [
    ["alice@example.com", "wonderland"],
    ["bob@example.com", "builder"],
    ["carol@other.net", "singer"],
  ]) {
    await ask(desk, "PUT", `/api/v1/users/${aor}/password`, { password }, token);
  }
  const url = await desk.app.listen({ host: "127.0.0.1", port: 0 });
  const as =
    (authorization: string | null): Send =>
    async (method, path, body, headers = {}) => {
      const response = await fetch(url + path, {
        method,
        headers: { ...(authorization === null ? {} : { authorization }), ...headers },
        ...(body === undefined ? {} : { body: body as string }),
      });
      return {
        status: response.status,
        text: await response.text(),
        headers: response.headers,
        etag: response.headers.get("etag"),
      };
    };
  const alice = as(basic("alice", "wonderland"));
  const { documents } = desk.directory;
  /** Somebody else writes his rules just before the next write. */
  const meanwhile = (text: string): void => {
    const put = documents.put.bind(documents);
    vi.spyOn(documents, "put").mockImplementationOnce(async (...mine) => {
      await put("alice@example.com", "pres-rules", text, {}, "other");
      return put(...mine);
    });
  };
  const actors = async () =>
    (await desk.directory.audit({ limit: 50 }))
      .filter((each) => /document/.test(each.action))
      .map((each) => each.actor);
  const put = (path: string, type: string, body: string | Uint8Array, headers = {}) =>
    alice("PUT", path, body, { "content-type": type, ...headers });
  return { desk, documents, meanwhile, actors, as, alice, admin: as(token.authorization), put, url };
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

function digestOf(
  challenge: string,
  user: string,
  password: string,
  method: string,
  uri: string,
  nc = "00000001",
): string {
  const field = (name: string) => new RegExp(`${name}="?([^",]+)`).exec(challenge)![1]!;
  const algorithm = field("algorithm");
  const hash = (text: string) =>
    createHash(algorithm === "MD5" ? "md5" : "sha256")
      .update(text)
      .digest("hex");
  const [realm, nonce] = [field("realm"), field("nonce")];
  const response = hash(`${hash(`${user}:${realm}:${password}`)}:${nonce}:${nc}:c0:auth:${hash(`${method}:${uri}`)}`);
  return `Digest username="${user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${response}", algorithm=${algorithm}, qop=auth, nc=${nc}, cnonce="c0"`;
}

/** The error of an xcap-error document. */
function errorOf({ text, headers }: Sent): string {
  expect(headers.get("content-type")).toBe("application/xcap-error+xml");
  const [error] = parseXml(text).children;
  return typeof error === "object" ? error.local : "";
}

describe("documents (RFC 4825 7.1-7.3)", () => {
  it("PUT makes one: 201 with an entity tag; a second is 200 without content and with another tag", async () => {
    const { put, alice } = await open();
    expect((await alice("GET", INDEX)).status).toBe(404);
    const first = await put(INDEX, TYPE, RULES);
    expect([first.status, first.headers.get("location")]).toEqual([201, INDEX]);
    const got = await alice("GET", INDEX);
    expect([got.status, got.headers.get("content-type"), got.text, got.etag]).toEqual([200, TYPE, RULES, first.etag]);
    const second = await put(INDEX, TYPE, RULES.replace("friends", "mates"));
    expect([second.status, second.text]).toEqual([200, ""]);
    expect(second.etag).not.toBe(first.etag);
    const removed = await alice("DELETE", INDEX);
    expect([removed.status, removed.etag]).toEqual([200, null]);
    expect((await alice("DELETE", INDEX)).status).toBe(404);
  });

  it.each([
    ["text/xml", 415],
    ["application/xml", 415],
    [ELEMENT, 415],
    [`${TYPE}; charset=utf-8`, 201],
    [TYPE.toUpperCase(), 201],
  ])("Content-Type %s: %i (8.2.2)", async (type, status) => {
    const { put } = await open();
    expect((await put(INDEX, type, RULES)).status).toBe(status);
  });

  it.each([
    ["<ruleset", "not-well-formed"],
    ["", "not-well-formed"],
    ['<!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>', "not-well-formed"],
    ['<?xml version="1.0" encoding="ISO-8859-1"?><r/>', "not-utf-8"],
    [Buffer.from("<r>\xe9</r>", "latin1"), "not-utf-8"],
    ["<r/>", "schema-validation-error"],
    [RULES.replace("allow", "perhaps"), "schema-validation-error"],
  ])("%j is refused with 409 and %s", async (body, error) => {
    const { put, documents } = await open();
    const answer = await put(INDEX, TYPE, body);
    expect([answer.status, errorOf(answer)]).toEqual([409, error]);
    expect(await documents.get("alice@example.com", "pres-rules")).toBeNull();
  });

  it("a body without Content-Type is of no type: 415; a PUT without a body is no document: 409", async () => {
    const { alice, put } = await open();
    expect((await alice("PUT", INDEX, Buffer.from(RULES))).status).toBe(415);
    expect((await put(INDEX, TYPE, "")).status).toBe(409);
    expect((await alice("PUT", INDEX)).status).toBe(415);
  });

  it("over 64 kB: 413, and nothing is kept", async () => {
    const { put, documents } = await open();
    expect((await put(INDEX, TYPE, `<r>${"x".repeat(70_000)}</r>`)).status).toBe(413);
    expect(await documents.get("alice@example.com", "pres-rules")).toBeNull();
  });

  it.each([
    ["/xcap/resource-lists/users/sip:alice@example.com/index", 404],
    ["/xcap/pres-rules/users/sip:alice@example.com/other", 404],
    ["/xcap/pres-rules/users/sip:alice@example.com/a/index", 404],
    ["/xcap/pres-rules/users/sip:alice@example.com", 404],
    ["/xcap/pres-rules/somewhere/sip:alice@example.com/index", 404],
    ["/xcap/pres-rules/global/index", 404],
    ["/xcap/xcap-caps/users/sip:alice@example.com/index", 404],
    ["/xcap/", 404],
  ])("%s: nothing is there", async (path, status) => {
    const { alice, put } = await open();
    await put(INDEX, TYPE, RULES);
    expect((await alice("GET", path)).status).toBe(status);
  });

  it("MUST NOT be put into a directory that does not exist: 409 no-parent (8.2.1)", async () => {
    const { put } = await open();
    const deep = await put("/xcap/pres-rules/users/sip:alice@example.com/a/index", TYPE, RULES);
    expect([deep.status, errorOf(deep)]).toEqual([409, "no-parent"]);
    const other = await put("/xcap/pres-rules/users/sip:alice@example.com/other", TYPE, RULES);
    expect([other.status, errorOf(other)]).toEqual([409, "constraint-failure"]);
  });

  it.each(["sip:alice@example.com", "sip%3Aalice%40example.com", "alice@example.com", "sip:%61lice@EXAMPLE.com"])(
    "the XUI may be written %s (6.2)",
    async (xui) => {
      const { put, alice } = await open();
      await put(INDEX, TYPE, RULES);
      expect((await alice("GET", `/xcap/pres-rules/users/${xui}/index`)).text).toBe(RULES);
    },
  );

  it("POST is not defined: 405 with Allow (8.1)", async () => {
    const { alice } = await open();
    const answer = await alice("POST", INDEX, RULES, { "content-type": TYPE });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD, PUT, DELETE"]);
  });

  it("caches are told not to answer by themselves (9)", async () => {
    const { put, alice } = await open();
    await put(INDEX, TYPE, RULES);
    expect((await alice("GET", INDEX)).headers.get("cache-control")).toContain("no-cache");
    const head = await alice("HEAD", INDEX);
    expect([head.status, head.text, head.etag]).toEqual([200, "", expect.stringMatching(/^"[\w-]+"$/)]);
  });
});

describe("elements and attributes (RFC 4825 7.4-7.10)", () => {
  it("an element is read, made, replaced and removed; all share the document's tag (8.5)", async () => {
    const { put, alice } = await open();
    const first = await put(INDEX, TYPE, RULES);
    const got = await alice("GET", `${RULE}/cp:actions${CP}`);
    expect([got.status, got.headers.get("content-type"), got.text, got.etag]).toEqual([
      200,
      ELEMENT,
      "<actions><pr:sub-handling>allow</pr:sub-handling></actions>",
      first.etag,
    ]);
    const made = await put(
      `${RULE}/cp:conditions/cp:identity/cp:one%5B@id=%22sip:carol@other.net%22%5D${CP}`,
      ELEMENT,
      '<one id="sip:carol@other.net"/>',
    );
    expect([made.status, made.etag === first.etag]).toEqual([201, false]);
    const replaced = await put(
      `${RULE}/cp:actions/pr:sub-handling${CP}`,
      ELEMENT,
      "<pr:sub-handling>block</pr:sub-handling>",
    );
    expect([replaced.status, replaced.text, replaced.etag === made.etag]).toEqual([200, "", false]);
    const whole = await alice("GET", INDEX);
    expect(whole.etag).toBe(replaced.etag);
    expect(whole.text).toBe(
      RULES.replace(
        '<one id="sip:bob@example.com"/>',
        '<one id="sip:bob@example.com"/><one id="sip:carol@other.net"/>',
      ).replace("allow", "block"),
    );
    const removed = await alice("DELETE", `${RULE}/cp:transformations${CP}`);
    expect([removed.status, removed.etag]).toEqual([200, (await alice("GET", INDEX)).etag]);
    expect((await alice("GET", `${RULE}/cp:transformations${CP}`)).status).toBe(404);
  });

  it("an attribute in its quotes", async () => {
    const { put, alice } = await open();
    await put(INDEX, TYPE, RULES);
    const one = `${RULE}/cp:conditions/cp:identity/cp:one/@id${CP}`;
    const got = await alice("GET", one);
    expect([got.headers.get("content-type"), got.text]).toEqual([ATTRIBUTE, '"sip:bob@example.com"']);
    expect((await put(one, ATTRIBUTE, '"sip:dave@example.com"')).status).toBe(200);
    expect((await alice("GET", one)).text).toBe('"sip:dave@example.com"');
    const bare = await put(one, ATTRIBUTE, "sip:dave@example.com");
    expect([bare.status, errorOf(bare)]).toEqual([409, "not-xml-att-value"]);
    expect((await put(one, ELEMENT, '"x"')).status).toBe(415);
  });

  it("namespace bindings are read only: 405 with Allow GET (8.4)", async () => {
    const { put, alice } = await open();
    await put(INDEX, TYPE, RULES);
    const path = `${INDEX}/~~/cp:ruleset/namespace::*${CP}`;
    const got = await alice("GET", path);
    expect([got.headers.get("content-type"), got.text]).toEqual([
      "application/xcap-ns+xml",
      '<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"/>',
    ]);
    for (const method of ["PUT", "DELETE"]) {
      const answer = await alice(method, path);
      expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    }
  });

  it("a prefix that the query does not define MUST be answered 400 (8)", async () => {
    const { put, alice } = await open();
    await put(INDEX, TYPE, RULES);
    for (const method of ["GET", "PUT", "DELETE"]) {
      expect((await alice(method, `${INDEX}/~~/cp:ruleset`)).status).toBe(400);
    }
  });

  it("an extension selector MUST be answered 404 (8)", async () => {
    const { put, alice } = await open();
    await put(INDEX, TYPE, RULES);
    for (const method of ["GET", "PUT", "DELETE"]) {
      expect((await alice(method, `${INDEX}/~~/id(%22friends%22)`)).status).toBe(404);
    }
  });

  it("what is not described by its own selector MUST NOT be inserted: 409 cannot-insert", async () => {
    const { put } = await open();
    await put(INDEX, TYPE, RULES);
    const answer = await put(`${RULE}${CP}`, ELEMENT, '<rule id="foes"/>');
    expect([answer.status, errorOf(answer)]).toEqual([409, "cannot-insert"]);
  });

  it("without a parent: 409 no-parent, with the ancestor that there is", async () => {
    const { put, alice } = await open();
    const early = await put(`${RULE}${CP}`, ELEMENT, '<rule id="friends"/>');
    expect([early.status, errorOf(early)]).toEqual([409, "no-parent"]);
    await put(INDEX, TYPE, RULES);
    const path = `${INDEX}/~~/cp:ruleset/cp:rule%5B@id=%22none%22%5D/cp:actions${CP}`;
    const answer = await put(path, ELEMENT, "<actions/>");
    expect([answer.status, errorOf(answer)]).toEqual([409, "no-parent"]);
    const [error] = parseXml(answer.text).children as [ReturnType<typeof parseXml>];
    const [ancestor] = childrenOf(error, error.uri, "ancestor");
    const found = await alice("GET", `${INDEX}/${textOf(ancestor!)}`);
    expect([found.status, found.text.startsWith("<ruleset")]).toEqual([200, true]);
  });

  it("a rule with another's id: 409 uniqueness-failure, which says where", async () => {
    const { put, alice } = await open();
    const twice = RULES.replace("</ruleset>", '<rule id="friends"/></ruleset>');
    const whole = await put(INDEX, TYPE, twice);
    expect([whole.status, errorOf(whole)]).toEqual([409, "uniqueness-failure"]);
    expect(whole.text).toContain('<exists field="*/*%5B2%5D/@id"/>');
    await put(INDEX, TYPE, twice.replace('<rule id="friends"/>', '<rule id="foes"/>'));
    const id = `${INDEX}/~~/*/*%5B2%5D/@id`;
    expect((await alice("GET", id)).text).toBe('"foes"');
    const node = await put(id, ATTRIBUTE, '"friends"');
    expect([node.status, errorOf(node)]).toEqual([409, "uniqueness-failure"]);
  });

  it("with the database away nothing is told and nothing done: 503 with Retry-After", async () => {
    const { put, alice, desk } = await open();
    await put(INDEX, TYPE, RULES);
    desk.database.setAway(true);
    for (const answer of [await alice("GET", INDEX), await put(INDEX, TYPE, RULES), await alice("DELETE", INDEX)]) {
      expect([answer.status, Number(answer.headers.get("retry-after")) > 0]).toEqual([503, true]);
    }
    desk.database.setAway(false);
    expect((await alice("GET", INDEX)).text).toBe(RULES);
  });

  it("a deletion that would lead to another element: 409 cannot-delete", async () => {
    const { put, alice } = await open();
    await put(INDEX, TYPE, RULES.replace("</ruleset>", '<rule id="foes"/></ruleset>'));
    const answer = await alice("DELETE", `${INDEX}/~~/cp:ruleset/cp:rule%5B1%5D${CP}`);
    expect([answer.status, errorOf(answer)]).toEqual([409, "cannot-delete"]);
  });

  it("another writer between reading and writing is not overwritten", async () => {
    const { put, meanwhile, alice } = await open();
    await put(INDEX, TYPE, RULES);
    meanwhile(RULES.replace("allow", "confirm"));
    const answer = await put(`${INDEX}/~~/cp:ruleset/cp:rule%5B@id=%22foes%22%5D${CP}`, ELEMENT, '<rule id="foes"/>');
    expect(answer.status).toBe(201);
    const { text } = await alice("GET", INDEX);
    expect(text).toContain("confirm");
    expect(text).toContain('<rule id="foes"/>');
  });
});

describe("conditions (RFC 4825 7.11, 8.2.6)", () => {
  it("If-Match holds the document's tag, for every node in it", async () => {
    const { put, alice } = await open();
    const { etag } = await put(INDEX, TYPE, RULES);
    const path = `${RULE}/cp:actions/pr:sub-handling${CP}`;
    const body = "<pr:sub-handling>block</pr:sub-handling>";
    expect((await put(path, ELEMENT, body, { "if-match": '"stale"' })).status).toBe(412);
    expect((await put(path, ELEMENT, body, { "if-match": `W/${etag}` })).status).toBe(412);
    const done = await put(path, ELEMENT, body, { "if-match": `"x", ${etag}` });
    expect(done.status).toBe(200);
    expect((await put(path, ELEMENT, body, { "if-match": etag! })).status).toBe(412);
    expect((await alice("DELETE", path, undefined, { "if-match": etag! })).status).toBe(412);
    expect((await alice("DELETE", INDEX, undefined, { "if-match": done.etag! })).status).toBe(200);
    expect((await put(INDEX, TYPE, RULES, { "if-match": "*" })).status).toBe(412);
  });

  it("If-None-Match: * makes, and never replaces; on a node it always fails", async () => {
    const { put } = await open();
    const once = { "if-none-match": "*" };
    expect((await put(INDEX, TYPE, RULES, once)).status).toBe(201);
    expect((await put(INDEX, TYPE, RULES, once)).status).toBe(412);
    expect(
      (await put(`${INDEX}/~~/cp:ruleset/cp:rule%5B@id=%22foes%22%5D${CP}`, ELEMENT, '<rule id="foes"/>', once)).status,
    ).toBe(412);
  });

  it("GET with the tag one has: 304", async () => {
    const { put, alice } = await open();
    const { etag } = await put(INDEX, TYPE, RULES);
    for (const path of [INDEX, `${RULE}${CP}`]) {
      const same = await alice("GET", path, undefined, { "if-none-match": etag! });
      expect([same.status, same.text, same.etag]).toEqual([304, "", etag]);
      expect((await alice("GET", path, undefined, { "if-none-match": '"other"' })).status).toBe(200);
    }
  });

  it("another writer between a condition and its write: 412, nothing is lost", async () => {
    const { put, documents, meanwhile } = await open();
    const { etag } = await put(INDEX, TYPE, RULES);
    meanwhile(RULES.replace("friends", "others"));
    expect((await put(INDEX, TYPE, RULES, { "if-match": etag! })).status).toBe(412);
    expect((await documents.get("alice@example.com", "pres-rules"))?.text).toBe(RULES.replace("friends", "others"));
  });

  it("a condition that is none: 400", async () => {
    const { put } = await open();
    expect((await put(INDEX, TYPE, RULES, { "if-match": "t1" })).status).toBe(400);
  });
});

describe("capabilities (RFC 4825 12)", () => {
  it("name every application usage and namespace, themselves among them", async () => {
    const { alice } = await open();
    const { status, text, headers } = await alice("GET", "/xcap/xcap-caps/global/index");
    expect([status, headers.get("content-type")]).toEqual([200, "application/xcap-caps+xml"]);
    const list = (name: string) => {
      const root = parseXml(text);
      return childrenOf(root, root.uri, name)[0]!.children.map((each) =>
        typeof each === "object" ? textOf(each) : "",
      );
    };
    expect(list("auids")).toEqual(["xcap-caps", "pres-rules", "im-rules", "im-routing"]);
    expect(list("namespaces")).toContain("urn:ietf:params:xml:ns:xcap-caps");
    expect(list("namespaces")).toContain("urn:ietf:params:xml:ns:pres-rules");
    const element = await alice("GET", "/xcap/xcap-caps/global/index/~~/xcap-caps/auids/auid%5B2%5D");
    expect(element.text).toBe("<auid>pres-rules</auid>");
    expect((await alice("PUT", "/xcap/xcap-caps/global/index", "<x/>")).status).toBe(405);
  });
});

describe("who may (RFC 4825 5.7, 8)", () => {
  it("who says nothing is challenged with Digest, the strongest first (RFC 7616, RFC 8760)", async () => {
    const { as } = await open();
    const answer = await as(null)("GET", INDEX);
    expect(answer.status).toBe(401);
    expect(answer.headers.get("www-authenticate")).toMatch(/^Digest .*SHA-256.*Digest .*MD5.*Basic /);
  });

  it.each(["SHA-256", "MD5"])(
    "Digest with %s; an answer serves once, for its method and its resource",
    async (algorithm) => {
      const { as, put } = await open();
      await put(INDEX, TYPE, RULES);
      const challenges = (await as(null)("GET", INDEX)).headers.get("www-authenticate")!.split(/, (?=Digest|Basic)/);
      const challenge = challenges.find((each) => each.includes(`algorithm=${algorithm}`))!;
      const answer = (nc: string, method = "GET", uri = INDEX) =>
        digestOf(challenge, "alice", "wonderland", method, uri, nc);
      expect((await as(answer("00000001"))("GET", INDEX)).status).toBe(200);
      const replayed = await as(answer("00000001"))("GET", INDEX);
      expect([replayed.status, replayed.headers.get("www-authenticate")]).toEqual([
        401,
        expect.stringContaining("stale=true"),
      ]);
      expect((await as(answer("00000002"))("DELETE", INDEX)).status).toBe(401);
      expect((await as(answer("00000003"))("GET", `${INDEX}/~~/*`)).status).toBe(401);
      expect((await as(answer("00000004", "GET", `http://127.0.0.1${INDEX}`))("GET", INDEX)).status).toBe(200);
    },
  );

  it("a user of the first domain may give his whole address, by Digest and by Basic", async () => {
    const { as, put } = await open();
    await put(INDEX, TYPE, RULES);
    const [challenge] = (await as(null)("GET", INDEX)).headers.get("www-authenticate")!.split(/, (?=Digest|Basic)/);
    const whole = digestOf(challenge!, "alice@example.com", "wonderland", "GET", INDEX);
    expect((await as(whole)("GET", INDEX)).status).toBe(200);
    const wrong = digestOf(challenge!, "alice@example.com", "looking-glass", "GET", INDEX, "00000002");
    expect((await as(wrong)("GET", INDEX)).status).toBe(401);
    expect((await as(basic("alice@example.com", "wonderland"))("GET", INDEX)).status).toBe(200);
  });

  it("a user of another domain gives his whole address", async () => {
    const { as } = await open();
    const path = "/xcap/pres-rules/users/sip:carol@other.net/index";
    const carol = as(basic("carol@other.net", "singer"));
    expect((await carol("PUT", path, RULES, { "content-type": TYPE })).status).toBe(201);
    expect((await as(basic("carol", "singer"))("GET", path)).status).toBe(401);
  });

  it("a user MUST NOT read or write another's documents: 403, whether there are any or not", async () => {
    const { as, put, documents, actors } = await open();
    await put(INDEX, TYPE, RULES);
    const bob = as(basic("bob", "builder"));
    for (const path of [INDEX, `${RULE}${CP}`, "/xcap/pres-rules/users/sip:nobody@example.com/index"]) {
      for (const method of ["GET", "PUT", "DELETE"]) {
        expect(
          (
            await bob(
              method,
              path,
              method === "PUT" ? RULES : undefined,
              method === "PUT" ? { "content-type": TYPE } : {},
            )
          ).status,
        ).toBe(403);
      }
    }
    expect((await documents.get("alice@example.com", "pres-rules"))?.text).toBe(RULES);
    expect(await actors()).toEqual(["alice@example.com"]);
  });

  it("the admin's token may everything in the served domains", async () => {
    const { admin, actors } = await open();
    expect((await admin("PUT", INDEX, RULES, { "content-type": TYPE, "x-actor": "root" })).status).toBe(201);
    expect((await admin("GET", INDEX)).text).toBe(RULES);
    expect(await actors()).toEqual(["token:root"]);
    expect((await admin("GET", "/xcap/pres-rules/users/sip:x@elsewhere.org/index")).status).toBe(404);
  });

  it("thirty different wrong tokens a minute, then 429, on the whole API; one again and again is one", async () => {
    const { as, admin, desk } = await open();
    for (let i = 0; i < 40; i++) expect((await as("Bearer old")("GET", INDEX)).status).toBe(401);
    expect((await admin("GET", INDEX)).status).toBe(404);
    for (let i = 0; i < 29; i++) expect((await as(`Bearer guess${i}`)("GET", INDEX)).status).toBe(401);
    expect((await admin("GET", INDEX)).status).toBe(429);
    const api = await ask(desk, "GET", "/api/v1/users", undefined, { authorization: `Bearer ${TOKEN}` });
    expect([api.status, api.body.error.code, Number(api.headers["retry-after"]) > 0]).toEqual([
      429,
      "too-many-failures",
      true,
    ]);
  });

  it("no API without a token lets anybody in without a password", async () => {
    const { app } = await openDesk();
    const url = await app.listen({ host: "127.0.0.1", port: 0 });
    expect((await fetch(url + INDEX)).status).toBe(401);
    expect((await fetch(url + INDEX, { headers: { authorization: "Bearer " } })).status).toBe(401);
    expect((await fetch(url + INDEX, { headers: { authorization: "Bearer null" } })).status).toBe(401);
  });

  it("behind a proxy on this machine wrong passwords are counted by whom it says, and Basic is taken", async () => {
    const { as } = await open();
    const from = (address: string, password: string) =>
      as(basic("alice", password))("GET", INDEX, undefined, { "x-forwarded-for": address });
    for (let i = 0; i < 10; i++) expect((await from("198.51.100.1", `guess${i}`)).status).toBe(401);
    expect((await from("198.51.100.1", "wonderland")).status).toBe(429);
    expect((await from("198.51.100.2", "wonderland")).status).toBe(404);
  });

  it("passwords that are guessed all at once are counted as those one after another", async () => {
    const { desk } = await open();
    const guess = (n: number) => ({ authorization: basic("alice", `guess${n}`) });
    const sent = Array.from({ length: 40 }, (_, n) =>
      desk.app.inject({ method: "GET", url: INDEX, headers: guess(n), remoteAddress: "127.0.0.9" }),
    );
    const answers = (await Promise.all(sent)).map(({ statusCode }) => statusCode);
    expect([answers.filter((each) => each === 401).length, answers.filter((each) => each === 429).length]).toEqual([
      10, 30,
    ]);
  });

  it("ten wrong passwords for a user a minute, then 429 for him, also with the right one; others go on", async () => {
    const { as, alice } = await open();
    for (let i = 0; i < 10; i++) expect((await as(basic("alice", `guess${i}`))("GET", INDEX)).status).toBe(401);
    const blocked = await alice("GET", INDEX);
    expect(blocked.status).toBe(429);
    expect(Number(blocked.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await as(basic("bob", "builder"))("GET", INDEX.replace("alice", "bob"))).status).toBe(404);
  });
});
