import { describe, expect, it } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { diffConfig } from "../../src/config/diff.ts";
import { loadConfig } from "../../src/config/load.ts";

const BASE = `domain: a.com
servers:
  east: { uri: "sip:127.0.0.11:5060" }
  west: { uri: "sip:127.0.0.12:5060" }
`;

function config(text: string): Config {
  const loaded = loadConfig(text, { env: {}, hostName: "box" });
  if (loaded.config === undefined) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

const changes = (text: string): string[] =>
  diffConfig(config(BASE), config(text)).map((each) => `${each.kind} ${each.path}${each.restart ? " restart" : ""}`);

describe("what a reload changes", () => {
  it("nothing, where nothing changed", () => {
    expect(changes(BASE)).toEqual([]);
  });

  it.each([
    [BASE.replace("127.0.0.12", "127.0.0.22"), ["changed servers.west"]],
    [BASE.replace(/ {2}west.*\n/, ""), ["removed servers.west"]],
    [`${BASE}  north: { uri: "sip:127.0.0.13" }\n`, ["added servers.north"]],
    [`${BASE}learned: 1h\n`, ["changed learnedMs"]],
    [`${BASE}clients: { home: east }\n`, ["changed clients.home"]],
    [`${BASE}admin: { token: x }\n`, ["changed admin.token restart"]],
    [`${BASE}admin: { url: "http://127.0.0.1:9000" }\n`, ["changed admin.url restart"]],
    [`${BASE}database: postgres://h/d\n`, ["changed database restart"]],
    [`${BASE}listen: [udp://127.0.0.1:5060]\n`, ["changed listen restart"]],
    [`${BASE}timers: { t1: 250ms, c: 4m }\n`, ["changed timers.t1 restart", "changed timers.c"]],
    [`${BASE}capture: { hep: "udp://127.0.0.1:9060" }\n`, ["changed capture restart"]],
    [`${BASE}trees: { hq: { root: east } }\n`, ["added trees.hq"]],
  ])("%#: is listed with whether it needs a restart", (text, expected) => {
    expect(changes(text)).toEqual(expected);
  });

  it("the order of servers counts", () => {
    const swapped = `domain: a.com\nservers:\n  west: { uri: "sip:127.0.0.12:5060" }\n  east: { uri: "sip:127.0.0.11:5060" }\n`;
    expect(changes(swapped)).toEqual(["changed servers"]);
  });

  it("no secret is in its words", () => {
    const from = config(`${BASE}admin: { token: s3cret1 }\ndatabase: "postgres://u:s3cret2@h/d"\n`);
    const to = config(`${BASE}admin: { token: s3cret3 }\ndatabase: "postgres://u:s3cret4@h/d"\n`);
    expect(JSON.stringify(diffConfig(from, to))).not.toContain("s3cret");
  });
});
