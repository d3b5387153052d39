import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type DigestAnswer, digestResponse, digestSecret, parseDigest } from "../../src/base/digest.ts";
import type { Credentials } from "../../src/directory/directory.ts";
import { DigestNonces } from "../../src/proxy/digest.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";

const USER = "Mufasa";
const PASSWORD = "Circle of Life";
const REALM = "http-auth@example.org";

/** RFC 7616 3.9.1. */
const EXAMPLE = {
  username: USER,
  realm: REALM,
  nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
  uri: "/dir/index.html",
  nc: "00000001",
  cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
  qop: "auth",
  response: "",
};

describe("the response (RFC 7616 3.4.1)", () => {
  it.each([
    ["MD5", "8ca523f5e9506fed4657c9700eebdbec"],
    ["SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"],
  ] as const)("the example of 3.9.1, %s", (algorithm, expected) => {
    const secret = digestSecret(algorithm, USER, REALM, PASSWORD);
    expect(digestResponse({ ...EXAMPLE, algorithm }, "GET", secret)).toBe(expected);
  });

  it("without qop, the old form (RFC 2617 3.2.2.1)", () => {
    const answer: DigestAnswer = { ...EXAMPLE, algorithm: "MD5", nc: undefined, cnonce: undefined, qop: undefined };
    const hash = (text: string) => createHash("md5").update(text).digest("hex");
    const expected = hash(`${hash(`${USER}:${REALM}:${PASSWORD}`)}:${EXAMPLE.nonce}:${hash("GET:/dir/index.html")}`);
    expect(digestResponse(answer, "GET", digestSecret("MD5", USER, REALM, PASSWORD))).toBe(expected);
  });
});

describe("reading an answer", () => {
  const value = `Digest username="Mu\\"f", realm="r, x", nonce="n", uri="sip:a@b", response="0a", algorithm=SHA-256, nc=00000001, cnonce="c", qop=auth`;

  it("quoted strings with commas and escapes, names in any case", () => {
    expect(parseDigest(value)).toMatchObject({ username: 'Mu"f', realm: "r, x", algorithm: "SHA-256", qop: "auth" });
    expect(parseDigest(value.replace("username", "USERNAME").replace("Digest", "digest"))?.username).toBe('Mu"f');
  });

  it("MD5 where no algorithm is named (RFC 7616 3.3)", () => {
    expect(parseDigest(value.replace(", algorithm=SHA-256", ""))?.algorithm).toBe("MD5");
  });

  it.each([
    ["another scheme", "Basic dXNlcg=="],
    ["another algorithm", value.replace("SHA-256", "SHA-512-256")],
    ["a session algorithm", value.replace("SHA-256", "MD5-sess")],
    ["another quality of protection", value.replace("qop=auth", "qop=auth-int")],
    ["no nonce", value.replace('nonce="n", ', "")],
    ["qop without a count", value.replace("nc=00000001, ", "")],
  ])("%s is none of ours", (_, text) => {
    expect(parseDigest(text)).toBeUndefined();
  });
});

describe("nonces (RFC 7616 3.3, 3.4)", () => {
  const simulation = createSimulation({ seed: 1 });
  const runtime = simulation.runtime(["10.0.0.1"]);
  const credentials: Credentials = {
    aor: "mufasa@example.org",
    realm: REALM,
    md5: digestSecret("MD5", USER, REALM, PASSWORD),
    sha256: digestSecret("SHA-256", USER, REALM, PASSWORD),
  };

  function nonces(remembered = 100): DigestNonces {
    return new DigestNonces(runtime.clock, runtime.random, { lifetimeMs: 60_000, remembered });
  }

  function right(nonce: string, nc = "00000001", password = PASSWORD): DigestAnswer {
    const answer = { ...EXAMPLE, nonce, nc, algorithm: "SHA-256" as const };
    return { ...answer, response: digestResponse(answer, "GET", digestSecret("SHA-256", USER, REALM, password)) };
  }

  it("two challenges with one nonce, the strongest first (RFC 8760 2.4)", () => {
    const [first, second] = nonces().challenges("r", false);
    expect(first).toContain("algorithm=SHA-256");
    expect(second).toContain("algorithm=MD5");
    expect(/nonce="([^"]+)"/.exec(first!)![1]).toBe(/nonce="([^"]+)"/.exec(second!)![1]);
    expect(nonces().challenges("r", true)[0]).toContain("stale=true");
  });

  it("right once for each growing count; a count that does not grow is stale", () => {
    const own = nonces();
    const nonce = own.issue();
    expect(own.verify(right(nonce, "00000001"), "GET", credentials)).toBe("right");
    expect(own.verify(right(nonce, "00000001"), "GET", credentials)).toBe("stale");
    expect(own.verify(right(nonce, "0000000a"), "GET", credentials)).toBe("right");
    expect(own.verify(right(nonce, "00000009"), "GET", credentials)).toBe("stale");
    expect(own.verify(right(nonce, "zz"), "GET", credentials)).toBe("stale");
  });

  it("a user name may be the whole address, where there are secrets for it; each with its own", () => {
    const own = nonces();
    const nonce = own.issue();
    const whole = "mufasa@example.org";
    const told = (username: string, nc: string) => {
      const answer = { ...EXAMPLE, username, nonce, nc, algorithm: "SHA-256" as const };
      return { ...answer, response: digestResponse(answer, "GET", digestSecret("SHA-256", username, REALM, PASSWORD)) };
    };
    const both = { ...credentials, whole: { md5: null, sha256: digestSecret("SHA-256", whole, REALM, PASSWORD) } };
    expect(own.verify(told(whole, "00000001"), "GET", credentials)).toBe("wrong");
    expect(own.verify(told(whole, "00000001"), "GET", both)).toBe("right");
    expect(own.verify(told(USER, "00000002"), "GET", both)).toBe("right");
    expect(own.verify(told("Scar", "00000003"), "GET", both)).toBe("wrong");
  });

  it("wrong before stale: a wrong password learns nothing of the nonce, and spends no count", () => {
    const own = nonces();
    const nonce = own.issue();
    expect(own.verify(right(nonce, "00000001", "wrong"), "GET", credentials)).toBe("wrong");
    expect(own.verify(right("forged", "00000001", "wrong"), "GET", credentials)).toBe("wrong");
    expect(own.verify(right(nonce), "GET", credentials)).toBe("right");
    expect(own.verify(right(nonce, "00000002"), "PUT", credentials)).toBe("wrong");
    expect(own.verify(right(nonce, "00000003"), "GET", null)).toBe("wrong");
  });

  it("another proxy's, a forged one and one that is too old are stale", async () => {
    const own = nonces();
    expect(own.verify(right(nonces().issue()), "GET", credentials)).toBe("stale");
    const nonce = own.issue();
    expect(own.verify(right(`${Number.MAX_SAFE_INTEGER.toString(36)}${nonce}`), "GET", credentials)).toBe("stale");
    await simulation.advance(60_001);
    expect(own.verify(right(nonce), "GET", credentials)).toBe("stale");
  });
});
