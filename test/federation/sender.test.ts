import { describe, expect, it } from "vitest";
import type { Origin } from "../../src/federation/facts.ts";
import { senderOf } from "../../src/federation/sender.ts";
import { MalformedHeader } from "../../src/sip/message/errors.ts";
import { parseUri } from "../../src/sip/message/uri.ts";
import { CLIENT, fromServer } from "./make.ts";

const same = (_: string, aor: string): string => aor;

function sender(origin: Origin, from: string, identities: readonly string[] = [], canonical = same) {
  return senderOf(
    { from: { uri: parseUri(from) }, identities: identities.map((uri) => ({ uri: parseUri(uri) })) },
    origin,
    canonical,
  );
}

const BOB = "sip:bob@Example.com;user=phone";

describe("the sender or watcher of a request", () => {
  it("is the P-Asserted-Identity of a trusted server (RFC 3325)", () => {
    expect(sender(fromServer("east"), "sip:anonymous@anonymous.invalid", ["tel:+15550100", BOB])).toEqual({
      aor: "bob@example.com",
      trusted: true,
    });
  });

  it("is From where the server asserts nobody", () => {
    expect(sender(fromServer("east"), BOB)).toEqual({ aor: "bob@example.com", trusted: true });
  });

  it("is named as we know him, where that server knows him otherwise", () => {
    const canonical = (server: string, aor: string): string =>
      server === "east" && aor === "b@example.com" ? "bob@example.com" : aor;
    expect(sender(fromServer("east"), "sip:b@example.com", [], canonical).aor).toBe("bob@example.com");
  });

  it("of a client is From, and proves nothing where he did not authenticate as that user", () => {
    expect(sender(CLIENT, BOB, ["sip:boss@example.com"])).toEqual({ aor: "bob@example.com", trusted: false });
    const authenticated = (aor: string): Origin => ({ kind: "client", authenticated: aor });
    expect(sender(authenticated("bob@example.com"), BOB).trusted).toBe(true);
    expect(sender(authenticated("eve@example.com"), BOB).trusted).toBe(false);
  });

  it("of another domain is believed for that domain's users only", () => {
    const peer: Origin = { kind: "peer", domain: "Other.org" };
    expect(sender(peer, "sip:zoe@other.org")).toEqual({ aor: "zoe@other.org", trusted: true });
    expect(sender(peer, BOB).trusted).toBe(false);
  });

  it("of an unknown origin is never believed", () => {
    expect(sender({ kind: "unknown" }, BOB)).toEqual({ aor: "bob@example.com", trusted: false });
  });

  it("without a user is its host, of another scheme the URI", () => {
    expect(sender(fromServer("east"), "sip:east.example.com").aor).toBe("east.example.com");
    expect(sender(fromServer("east"), "tel:+15550100").aor).toBe("tel:+15550100");
  });

  it("a malformed P-Asserted-Identity says nothing", () => {
    const request = {
      from: { uri: parseUri(BOB) },
      get identities(): never {
        throw new MalformedHeader("P-Asserted-Identity", "it is no URI");
      },
    };
    expect(senderOf(request, fromServer("east"), same)).toEqual({ aor: "bob@example.com", trusted: true });
  });
});
