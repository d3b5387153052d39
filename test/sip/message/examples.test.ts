import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { buildRequest, buildResponse } from "../../../src/sip/message/build.ts";
import { ParseError, parseMessage, validateRequest, validateResponse } from "../../../src/sip/message/parse.ts";
import { hasShared, sharedBytes, sharedPath } from "../../torture/shared.ts";

const list = (folder: string, end: string): string[] =>
  hasShared(folder) ? readdirSync(sharedPath(folder)).filter((name) => name.endsWith(end)) : [];

/**
 * Misprints of the RFCs themselves that make a message malformed, by file: what is owed is right. A file that comes to pass, or
 * a new one that does not, fails the test.
 */
const MISPRINTS: Readonly<Record<string, string>> = {
  // The Request-URI has no scheme.
  "rfc3327-010.sip": "a URI begins with its scheme",
  "rfc3327-011.sip": "a URI begins with its scheme",
  "rfc3327-012.sip": "a URI begins with its scheme",
  // `. . .` stands for lines left out, and reads as the fold of the header above.
  "rfc3608-001.sip": "Contact: unexpected '. . .'",
  "rfc3608-003.sip": "Contact: unexpected '. . .'",
  "rfc3608-009.sip": "Route: unexpected '. . .'",
  // Content-Length stands in the fold of the Route.
  "rfc5630-051.sip": "Route: unexpected 'Content-Length: '",
  // Two spaces in the start line.
  "rfc3665-157.sip": "the status code is none from 100 to 699",
  "rfc5367-001.sip": "Request-Line: more spaces than it may hold",
  // A sentence of the RFC was cut out with it and reads as the fold of Content-Length.
  "rfc4916-007.sip": "Content-Length: not a number of octets",
  // A user stands in the sent-by of the Via.
  "rfc7315-009.sip": "Via: the address is malformed",
  "rfc7315-011.sip": "Via: the address is malformed",
  "rfc7315-013.sip": "Via: the address is malformed",
};

const REFUSED = "rfc3665-157.sip";

describe.skipIf(!hasShared("data/sip-examples"))("messages printed in RFCs (skipped without ../shared)", () => {
  const all = list("data/sip-examples", ".sip");
  const names = all.filter((name) => name !== REFUSED);

  it("come out of parser and editor byte for byte", () => {
    expect(names.length).toBeGreaterThan(300);
    for (const name of names) {
      const raw = sharedBytes(`data/sip-examples/${name}`);
      const m = parseMessage(raw);
      expect(m.raw, name).toBe(raw);
      if (!("method" in m) || m.isRequestLineExact) expect(m.edit().build().raw, name).toBe(raw);
      const edited = m.edit().prepend("Via", "SIP/2.0/UDP x;branch=z9hG4bKy").set("Max-Forwards", "3").build();
      expect([edited.via.host, edited.maxForwards], name).toEqual(["x", 3]);
      const back = edited.edit().removeFirstValue("Via").build();
      expect(back.headers("Via"), name).toEqual(m.headers("Via"));
      expect(back.body, name).toBe(m.body);
    }
  });

  it("are valid but for the RFCs' own misprints", () => {
    const faults: Record<string, string> = {};
    for (const name of all) {
      try {
        const m = parseMessage(sharedBytes(`data/sip-examples/${name}`));
        const fault = "method" in m ? validateRequest(m) : validateResponse(m);
        if (fault !== null) faults[name] = fault.reason;
      } catch (error) {
        if (!(error instanceof ParseError)) throw error;
        faults[name] = error.message;
      }
    }
    expect(faults).toEqual(MISPRINTS);
  });

  it("every list of theirs is read", () => {
    for (const name of names) {
      const m = parseMessage(sharedBytes(`data/sip-examples/${name}`));
      for (const header of ["Via", "Route", "Record-Route", "Contact", "Allow", "Supported", "Accept"]) {
        const elements = m.values(header);
        expect(elements.join(",").replace(/\s/g, ""), name).toBe(
          m.headers(header).join(",").replace(/\s/g, "").replace(/,$/, ""),
        );
      }
    }
  });

  it("requests among them can be answered", () => {
    for (const name of names) {
      const m = parseMessage(sharedBytes(`data/sip-examples/${name}`));
      if (!("method" in m) || validateRequest(m) !== null) continue;
      const response = buildResponse(m, 486);
      expect(validateResponse(response), name).toBeNull();
      expect(response.to.tag, name).toBeDefined();
    }
  });
});

describe.skipIf(!hasShared("data/presence/examples"))(
  "presence documents as bodies (skipped without ../shared)",
  () => {
    it("come through a NOTIFY byte for byte", () => {
      const names = list("data/presence/examples", ".xml");
      expect(names.length).toBeGreaterThan(100);
      for (const name of names) {
        const body = sharedBytes(`data/presence/examples/${name}`);
        const built = buildRequest({
          method: "NOTIFY",
          uri: "sip:a@b",
          headers: [["Content-Type", "application/xml"]],
          body,
        });
        const read = parseMessage(built.raw);
        expect(read.body, name).toBe(body);
        expect(read.edit().set("Max-Forwards", "1").build().body, name).toBe(body);
      }
    });
  },
);
