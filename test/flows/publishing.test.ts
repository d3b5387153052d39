import { afterEach, describe, expect, it } from "vitest";
import { entityOf, parsePidf } from "../../src/presence/pidf.ts";
import { buildResponse } from "../../src/sip/message/build.ts";
import type { SipRequest } from "../../src/sip/message/message.ts";
import { type Client, createWorld, type World } from "../support/world.ts";

/** models.md, "Proxy or back-to-back": a PUBLISH whose PIDF entity must change is answered by us and published anew. */

let world: World;
let alice: Client;
afterEach(() => world.stop());

const ALICE = "sip:alice@example.com";
const CONTACT = "sip:alice@192.0.2.7:5062";

function documentOf(entity: string): string {
  return (
    `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${entity}"><tuple id="t1"><status><basic>open</basic></status>` +
    `<contact>${CONTACT}</contact></tuple></presence>`
  );
}

async function begin(status = 200): Promise<void> {
  let count = 0;
  world = await createWorld({
    servers: {
      east: {
        script: (transaction) => {
          count++;
          const headers: Record<number, ReadonlyArray<readonly [string, string]>> = {
            200: [
              ["SIP-ETag", `tag${count}`],
              ["Expires", "600"],
            ],
            423: [["Min-Expires", "900"]],
          };
          transaction.respond(
            buildResponse(transaction.request, status, undefined, { headers: headers[status] ?? [] }),
          );
        },
      },
    },
    each: { east: { identities: { "alice@example.com": "al.ice" } } },
    options: { clients: { authenticate: "none", realm: "example.com", home: "east" } },
  });
  alice = world.client("127.0.0.50");
}

async function publish(body: string, more: ReadonlyArray<readonly [string, string]> = []) {
  const type = body === "" ? [] : [["Content-Type", "application/pidf+xml"] as const];
  const headers = [["Event", "presence"] as const, ["Expires", "600"] as const, ...type, ...more];
  return (await alice.send("PUBLISH", ALICE, { headers, body })).at(-1)!;
}

function published(): SipRequest[] {
  return world.scripted["east"]!.seen("PUBLISH");
}

describe("a PUBLISH to a server that knows the user by another name", () => {
  it("names him there by that name alone, in the document too; his devices' contacts stay", async () => {
    await begin();
    expect((await publish(documentOf(ALICE))).status).toBe(200);
    const [seen] = published();
    expect([seen!.requestUri, seen!.to.uri.raw]).toEqual(["sip:al.ice@example.com", "sip:al.ice@example.com"]);
    expect(entityOf(parsePidf(seen!.body))).toBe("sip:al.ice@example.com");
    expect(seen!.body).toContain(`<contact>${CONTACT}</contact>`);
    expect(seen!.header("Content-Length")).toBe(String(seen!.body.length));
  });

  it("brings the entity-tag back, by which he changes and removes it (RFC 3903 4.1)", async () => {
    await begin();
    const first = await publish(documentOf(ALICE));
    expect([first.header("SIP-ETag"), first.header("Expires")]).toEqual(["tag1", "600"]);
    const second = await publish(documentOf(ALICE), [["SIP-If-Match", "tag1"]]);
    expect(second.header("SIP-ETag")).toBe("tag2");
    await publish("", [["SIP-If-Match", "tag2"]]);
    expect(published().map((each) => each.header("SIP-If-Match"))).toEqual([undefined, "tag1", "tag2"]);
  });

  it("is a request of our own, not his with another body: RFC 3261 16.6 lets a proxy change none", async () => {
    await begin();
    await publish(documentOf(ALICE));
    const [seen] = published();
    expect(seen!.values("Via")).toHaveLength(1);
    await publish(documentOf("sip:someone-else@example.com"));
    // Nothing to change: relayed.
    expect(published()[1]!.values("Via")).toHaveLength(2);
    expect(published()[1]!.callId).not.toBe(seen!.callId);
  });

  it("is answered as that server answers", async () => {
    await begin(423);
    const answer = await publish(documentOf(ALICE));
    expect([answer.status, answer.header("Min-Expires")]).toEqual([423, "900"]);
  });

  it("is 480 with Retry-After where the server cannot be asked", async () => {
    await begin(503);
    const answer = await publish(documentOf(ALICE));
    expect([answer.status, answer.header("Retry-After")]).toEqual([480, "10"]);
  });
});
