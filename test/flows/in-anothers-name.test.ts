import { afterEach, expect, it } from "vitest";
import { digestResponse, digestSecret } from "../../src/base/digest.ts";
import { ALICE, Exclusive } from "../support/exclusive.ts";
import { Watcher } from "../support/watcher.ts";

/** models.md, "Identity and policy": legs are opened on behalf of the watcher, who is whom he has proved to be. */

const REALM = "example.com";

let domain: Exclusive;

afterEach(() => domain.world.stop());

/** Eve subscribes, authenticated as herself, with this From; the leg that was opened for her. */
async function legOf(from: string) {
  domain = new Exclusive();
  await domain.begin({ options: { clients: { authenticate: "digest", realm: REALM, home: null } } });
  await domain.bind("east");
  const secret = digestSecret("SHA-256", "eve", REALM, "secret");
  const credentials = { aor: "eve@example.com", realm: REALM, md5: null, sha256: secret };
  await domain.world.simulation.finish(domain.world.proxies[0]!.directory.putCredentials(credentials, "test"));
  const watcher = new Watcher(domain.world, "127.0.0.50");
  const challenge = (await watcher.subscribe(ALICE, 600, { from })).header("Proxy-Authenticate")!;
  const nonce = /nonce="([^"]+)"/.exec(challenge)![1]!;
  const given = { username: "eve", realm: REALM, nonce, uri: ALICE, nc: "00000001", cnonce: "c", qop: "auth" };
  const response = digestResponse({ ...given, response: "", algorithm: "SHA-256" }, "SUBSCRIBE", secret);
  const value = `Digest username="eve", realm="${REALM}", nonce="${nonce}", uri="${ALICE}", response="${response}", algorithm=SHA-256, nc=00000001, cnonce="c", qop=auth`;
  const headers = [["Proxy-Authorization", value]] as const;
  expect((await watcher.subscribe(ALICE, 600, { from, headers })).status).toBe(200);
  await domain.wait(500);
  const [leg] = domain.east.firsts;
  return [leg!.from.uri.raw, leg!.header("P-Asserted-Identity")];
}

it("a client that subscribes in another's name gets what is for himself to see", async () => {
  expect(await legOf("sip:bob@example.com")).toEqual(["sip:eve@example.com", "<sip:eve@example.com>"]);
});

it("in his own, he is asserted (RFC 3325 5)", async () => {
  expect(await legOf("sip:eve@example.com")).toEqual(["sip:eve@example.com", "<sip:eve@example.com>"]);
});

it("without any, he stays unknown (RFC 3323 4.1.1.3)", async () => {
  expect(await legOf("sip:anonymous@anonymous.invalid")).toEqual(["sip:anonymous@anonymous.invalid", undefined]);
});
