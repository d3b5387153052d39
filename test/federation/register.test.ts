import { describe, expect, it } from "vitest";
import { decide } from "../../src/federation/decide.ts";
import { buildOriginTable } from "../../src/federation/origin.ts";
import type { BindPlan } from "../../src/federation/plan.ts";
import {
  claimFor,
  claimOfPublish,
  claimOfRegister,
  EXPIRY,
  grantedContacts,
  grantedExpires,
  hasOpenTuple,
  type PublishHeaders,
  type RegisterHeaders,
  registeredFor,
  registrationOf,
  unbindFor,
} from "../../src/federation/register.ts";
import { parseNameAddr } from "../../src/sip/message/headers/name-addr.ts";
import { AOR, bound, facts, fromServer, NOW } from "./make.ts";

function headers(contacts: readonly string[] | "*", expires?: number): RegisterHeaders {
  return {
    callId: "c1",
    cseq: { number: 5 },
    expires,
    contacts: contacts === "*" ? "*" : contacts.map((text) => parseNameAddr("Contact", text)),
  };
}

describe("what a REGISTER asks (RFC 3261 10.3 steps 6 and 7)", () => {
  const granted = (contacts: readonly string[], expires?: number, options = EXPIRY) => {
    const registration = registrationOf(headers(contacts, expires), options);
    return registration.kind === "update" ? registration.contacts.map((each) => each.expires) : registration;
  };

  it("the contact's expires beats the Expires header, which beats the default (10.2.1.1)", () => {
    expect(granted(["<sip:a@h>;expires=60", "<sip:b@h>"], 120)).toEqual([60, 120]);
    expect(granted(["<sip:a@h>"])).toEqual([3600]);
    expect(granted(["<sip:a@h>"], undefined, { ...EXPIRY, default: 90 })).toEqual([90]);
  });

  it("an expires that is no number counts as 3600 (10.2)", () => {
    expect(granted(["<sip:a@h>;expires=soon"], 60)).toEqual([3600]);
  });

  it("no more than the maximum is granted", () => {
    expect(granted(["<sip:a@h>;expires=4000000000"])).toEqual([86_400]);
  });

  it("zero removes", () => {
    expect(granted(["<sip:a@h>;expires=0", "<sip:b@h>;expires=9"])).toEqual([0, 9]);
  });

  it("no Contact asks and changes nothing (10.2.3)", () => {
    expect(registrationOf(headers([], 0))).toEqual({ kind: "query" });
  });

  it("Contact: * with Expires: 0 removes all; with anything else it is 400", () => {
    expect(registrationOf(headers("*", 0))).toEqual({ kind: "remove-all" });
    expect(registrationOf(headers("*", 60))).toMatchObject({ kind: "fault", status: 400 });
    expect(registrationOf(headers("*"))).toMatchObject({ kind: "fault", status: 400 });
  });

  it("423 only for more than zero, less than an hour and less than the minimum", () => {
    const options = { ...EXPIRY, min: 60 };
    expect(granted(["<sip:a@h>;expires=59"], undefined, options)).toMatchObject({ status: 423, minExpires: 60 });
    expect(granted(["<sip:a@h>;expires=60"], undefined, options)).toEqual([60]);
    expect(granted(["<sip:a@h>;expires=0"], undefined, options)).toEqual([0]);
    expect(granted(["<sip:a@h>;expires=3600"], undefined, { ...EXPIRY, min: 7200 })).toEqual([3600]);
  });

  it("a 200 lists what is left, each with the expiry granted (10.3 step 8)", () => {
    const registration = registrationOf(headers(['"A" <sip:a@h;transport=tcp>;q=0.5', "<sip:b@h>;expires=0"], 60));
    expect(grantedContacts(registration)).toEqual(["<sip:a@h;transport=tcp>;expires=60"]);
    expect(grantedExpires(registration)).toBe(60);
    expect(grantedContacts({ kind: "remove-all" })).toEqual([]);
    expect(grantedExpires({ kind: "query" })).toBe(0);
  });
});

const TABLE = buildOriginTable([
  { name: "east", nodes: [{ host: "10.0.0.1", port: 5060 }], names: ["east.example.com"] },
  { name: "west", nodes: [{ host: "10.0.0.2", port: 5060 }], names: [] },
  { name: "a", nodes: [{ host: "10.0.0.9", port: 5070 }], names: [] },
  { name: "b", nodes: [{ host: "10.0.0.9", port: 5080 }], names: [] },
]);

describe("whose REGISTER it is", () => {
  const of = (contacts: readonly string[] | "*", server: string | null, expires?: number) =>
    claimOfRegister(registrationOf(headers(contacts, expires)), server, TABLE);

  it("a server's where the contact is that server itself", () => {
    expect(of(["<sip:alice@10.0.0.1:5060>"], "east")).toBe("claim");
    expect(of(["<sip:10.0.0.1>"], "east")).toBe("claim");
    expect(of(["<sip:alice@EAST.example.com>"], "east")).toBe("claim");
    expect(of(["<sip:alice@10.0.0.9:5070>"], "a")).toBe("claim");
  });

  it("a client's where it is another server's or anybody's", () => {
    expect(of(["<sip:alice@10.0.0.2>"], "east")).toBe("client");
    expect(of(["<sip:alice@192.0.2.7:5099>"], "east")).toBe("client");
    expect(of(["<sip:alice@10.0.0.9:5080>"], "a")).toBe("client");
    expect(of(["<tel:+15550100>"], "east")).toBe("client");
    expect(of(["<sip:alice@10.0.0.1>"], null)).toBe("client");
  });

  it("gives the user up with Expires 0 or Contact: *", () => {
    expect(of(["<sip:alice@10.0.0.1>"], "east", 0)).toBe("deregister");
    expect(of("*", "east", 0)).toBe("deregister");
    expect(of("*", null, 0)).toBe("client");
  });

  it("claims as long as one contact of its own stays", () => {
    expect(of(["<sip:a@10.0.0.1>;expires=0", "<sip:b@10.0.0.1>;expires=60"], "east")).toBe("claim");
  });

  it("a question or a faulty one claims nothing", () => {
    expect(of([], "east")).toBe("client");
    expect(of("*", "east", 60)).toBe("client");
  });
});

describe("whose PUBLISH it is", () => {
  const OPEN = '<presence><tuple id="t"><status><basic>open</basic></status></tuple></presence>';
  const publish = (change: Partial<PublishHeaders> & { etag?: boolean } = {}): PublishHeaders => ({
    callId: "c1",
    cseq: { number: 1 },
    expires: 3600,
    event: { package: "presence" },
    body: OPEN,
    has: (name) => name === "SIP-If-Match" && change.etag === true,
    ...change,
  });

  it("an initial one of presence with an open tuple claims", () => {
    expect(claimOfPublish(publish(), "east")).toBe("claim");
  });

  it("with SIP-If-Match it never claims; with Expires 0 besides it gives the user up", () => {
    expect(claimOfPublish(publish({ etag: true }), "east")).toBe("refresh");
    expect(claimOfPublish(publish({ etag: true, expires: 0 }), "east")).toBe("deregister");
  });

  it("without an open tuple, or with Expires 0, it claims nothing", () => {
    expect(claimOfPublish(publish({ body: OPEN.replace("open", "closed") }), "east")).toBe("none");
    expect(claimOfPublish(publish({ expires: 0 }), "east")).toBe("none");
  });

  it("of another event, or of a client, is passed on", () => {
    expect(claimOfPublish(publish({ event: { package: "dialog" } }), "east")).toBe("client");
    expect(claimOfPublish(publish({ event: undefined }), "east")).toBe("client");
    expect(claimOfPublish(publish(), null)).toBe("client");
  });

  it("an open tuple is found under any prefix and spacing", () => {
    expect(hasOpenTuple("<p:basic>open</p:basic>")).toBe(true);
    expect(hasOpenTuple("<basic >\n open\n</basic>")).toBe(true);
    expect(hasOpenTuple("<basic>closed</basic>")).toBe(false);
    expect(hasOpenTuple("<note>open</note>")).toBe(false);
    expect(hasOpenTuple("<xbasic>open</xbasic>")).toBe(false);
  });
});

describe("what a plan asks of the directory", () => {
  const plan = (change: Partial<Parameters<typeof facts>[0]>): BindPlan => {
    const found = decide(facts({ method: "REGISTER", ...change }));
    if (found.kind !== "bind") throw new Error(`a ${found.kind} plan`);
    return found;
  };
  const request = headers(["<sip:alice@10.0.0.1>"]);

  it("a claim, ordered by Call-ID and CSeq (RFC 3261 10.3 step 7)", () => {
    const exclusive = { model: "exclusive", conflict: "refuse", refuseWith: 403 } as const;
    const found = plan({ origin: fromServer("east"), claim: "claim", model: exclusive });
    // The binding lives on for the grace time; what was granted decides whether a refresh is late.
    expect(claimFor(found, AOR, request, NOW + 60_000, "server:east")).toEqual({
      damping: { limit: 6, windowMs: 60_000 },
      aor: AOR,
      server: "east",
      origin: "registered",
      expiresAt: NOW + 65_000,
      conflict: "refuse",
      equalRank: true,
      order: { callId: "c1", cseq: 5, expiresAt: NOW + 60_000 },
      actor: "server:east",
    });
  });

  it("a server's deregistration acts on its own server only, and leaves what was learned", () => {
    const found = plan({ origin: fromServer("east"), claim: "deregister" });
    expect(unbindFor(found, AOR, request, "server:east")).toEqual({
      aor: AOR,
      server: "east",
      origins: ["registered"],
      order: { callId: "c1", cseq: 5 },
      actor: "server:east",
    });
  });

  it("a client's deregistration acts on the epoch it was relayed under", () => {
    const found = plan({ lookup: bound("west", "registered", { epoch: 9 }) });
    expect(unbindFor(found, AOR, request, "client")).toMatchObject({ server: "west", epoch: 9 });
  });

  it("in the exclusive model a deregistration ends an admin's binding too, never a provisioned one", () => {
    const exclusive = { model: "exclusive", conflict: "takeover", refuseWith: 403 } as const;
    const found = plan({ origin: fromServer("east"), claim: "deregister", model: exclusive });
    const { origins } = unbindFor(found, AOR, request, "server:east");
    expect(origins).toContain("admin");
    expect(origins).not.toContain("provisioned");
  });
});

describe("a relayed REGISTER is judged by its 2xx, which lists all contacts", () => {
  it("the expiry is the latest", () => {
    expect(registeredFor(headers(["<sip:a@h>;expires=60", "<sip:b@h>;expires=600"]))).toBe(600);
    expect(registeredFor(headers(["<sip:a@h>"], 120))).toBe(120);
    expect(registeredFor(headers(["<sip:a@h>"]))).toBe(3600);
  });

  it("one of two phones logging out unbinds nobody", () => {
    expect(registeredFor(headers(["<sip:b@h>;expires=600"]))).toBe(600);
    expect(registeredFor(headers(["<sip:a@h>;expires=0", "<sip:b@h>;expires=600"]))).toBe(600);
  });

  it("only an empty list unbinds", () => {
    expect(registeredFor(headers([], 3600))).toBe(0);
    expect(registeredFor(headers(["<sip:a@h>;expires=0"]))).toBe(0);
    expect(registeredFor(headers("*", 0))).toBe(0);
  });
});
