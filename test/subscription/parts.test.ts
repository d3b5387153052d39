import { describe, expect, it } from "vitest";
import { closedDocument } from "../../src/presence/closed-document.ts";
import { parseXml } from "../../src/presence/xml.ts";
import { acceptForLeg } from "../../src/subscription/accepts.ts";
import { contactOfProxy } from "../../src/subscription/contact.ts";
import { Documents } from "../../src/subscription/documents.ts";
import { readTag } from "../../src/subscription/leg.ts";
import { Pace } from "../../src/subscription/pace.ts";
import { RecentRequests } from "../../src/subscription/recent.ts";

describe("documents", () => {
  it("are kept once however many show them, and go with the last", () => {
    const documents = new Documents();
    const one = documents.hold("application/pidf+xml", "<presence/>");
    const two = documents.hold("application/pidf+xml", "<presence/>");
    const other = documents.hold("text/plain", "<presence/>");
    expect([one === two, one === other, documents.size]).toEqual([true, false, 2]);
    documents.release(one);
    expect(documents.size).toBe(2);
    documents.release(two);
    documents.release(other);
    expect(documents.size).toBe(0);
  });

  it("the closed one is well-formed and names him, whatever his name", () => {
    for (const aor of ["alice@example.com", `a&b<"c@example.com`]) {
      const { local, attributes, children } = parseXml(closedDocument(aor));
      expect([local, attributes.find((each) => each.local === "entity")?.value]).toEqual(["presence", `sip:${aor}`]);
      expect(JSON.stringify(children)).toContain('"closed"');
    }
  });
});

describe("the address by which other proxies reach this one", () => {
  const point = (transport: "udp" | "tls", host: string, sentBy = `${host}:5060`) =>
    ({ index: 0, transport, host, port: 5060, sentBy, direction: "up", unknown: "refuse" }) as const;

  it("is its own, and not a name that may stand for all of them", () => {
    expect(contactOfProxy([point("udp", "192.0.2.1", "sip.example.com:5060")])).toBe("sip:cdm@192.0.2.1:5060");
    expect(contactOfProxy([point("udp", "2001:db8::1", "sip.example.com:5060")])).toBe("sip:cdm@[2001:db8::1]:5060");
    expect(contactOfProxy([point("udp", "0.0.0.0", "192.0.2.7:5060")])).toBe("sip:cdm@192.0.2.7:5060");
  });

  it("is one that others can reach, by UDP where there is", () => {
    expect(contactOfProxy([point("udp", "127.0.0.1"), point("tls", "192.0.2.1")])).toBe(
      "sip:cdm@192.0.2.1:5060;transport=tls",
    );
    expect(contactOfProxy([point("tls", "192.0.2.1"), point("udp", "192.0.2.2")])).toBe("sip:cdm@192.0.2.2:5060");
    expect(contactOfProxy([point("udp", "127.0.0.1")])).toBe("sip:cdm@127.0.0.1:5060");
  });
});

describe("Accept of a leg", () => {
  it("leaves out what only tells differences (RFC 5263): the latest state wins, and servers change", () => {
    expect(acceptForLeg(["application/pidf-diff+xml", "application/pidf+xml"], "presence")).toBe(
      "application/pidf+xml",
    );
    expect(acceptForLeg(["application/pidf-diff+xml;q=1"], "presence")).toBe("application/pidf+xml");
    expect(acceptForLeg([], "presence")).toBe("application/pidf+xml");
    expect(acceptForLeg([], "dialog")).toBe("");
  });
});

describe("our tags", () => {
  it("name the subscription, and the leg where there is one", () => {
    expect(readTag("cdm-abc")).toEqual({ id: "cdm-abc", leg: null });
    expect(readTag("cdm-abc.1z")).toEqual({ id: "cdm-abc", leg: 71 });
    expect(readTag("cdm-abc.")).toEqual({ id: "cdm-abc", leg: -1 });
  });
});

describe("the pace of asking", () => {
  it("is so many at a time for each server, in order, and one server holds up no other", async () => {
    const pace = new Pace(2);
    const begun: string[] = [];
    const releases: Array<() => void> = [];
    const ask = (server: string, name: string): void =>
      void pace.turn(server).then((release) => {
        begun.push(name);
        releases.push(release);
      });
    for (const name of ["a", "b", "c", "d"]) ask("east", name);
    ask("west", "w");
    await Promise.resolve();
    expect(begun).toEqual(["a", "b", "w"]);
    releases.shift()!();
    await Promise.resolve();
    expect(begun).toEqual(["a", "b", "w", "c"]);
    for (const release of releases.splice(0)) release();
    await Promise.resolve();
    expect(begun).toEqual(["a", "b", "w", "c", "d"]);
  });

  it("many waiting cost no more than their turn", async () => {
    const pace = new Pace(1);
    let done = 0;
    const all = Array.from({ length: 5_000 }, () =>
      pace.turn("east").then((release) => {
        done++;
        release();
      }),
    );
    await Promise.all(all);
    expect(done).toBe(5_000);
  });
});

describe("merged requests (RFC 3261 8.2.2.2)", () => {
  it("are known for 64*T1, and no longer", () => {
    let now = 0;
    const recent = new RecentRequests({ now: () => now, wall: () => now });
    expect(recent.isMerged("t", "c", 1)).toBe(false);
    expect(recent.isMerged("t", "c", 1)).toBe(true);
    expect(recent.isMerged("t", "c", 2)).toBe(false);
    now = 33_000;
    expect(recent.isMerged("t", "c", 1)).toBe(false);
  });
});
