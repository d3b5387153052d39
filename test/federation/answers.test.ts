import { describe, expect, it } from "vitest";
import { type Ending, type Meaning, meaningOf, provesHere, upstreamStatus } from "../../src/federation/answers.ts";

/** models.md, "What answers mean", row by row. */
const TABLE: ReadonlyArray<readonly [Meaning, readonly Ending[]]> = [
  ["not-here", [404, 410, 604, 482]],
  ["could-not-ask", [408, 480, 500, 502, 503, 504, 580, 599, "timeout", "transport-error"]],
  [
    "answered",
    [
      300, 301, 302, 305, 380, 400, 401, 402, 403, 405, 406, 407, 409, 412, 413, 414, 415, 416, 420, 421, 422, 423, 429,
      440, 481, 483, 484, 485, 486, 487, 488, 489, 491, 493, 494, 501, 505, 513, 600, 603, 606, 607, 699,
    ],
  ],
  ["here", [200, 202, 204, 299]],
];

describe("what answers mean", () => {
  for (const [meaning, endings] of TABLE) {
    for (const ending of endings) {
      it(`${ending} means ${meaning}`, () => expect(meaningOf(ending)).toBe(meaning));
    }
  }

  it("gives every final status a meaning", () => {
    const meanings = new Set<string>();
    for (let status = 200; status < 700; status++) meanings.add(meaningOf(status));
    expect([...meanings].sort()).toEqual(["answered", "could-not-ask", "here", "not-here"]);
  });
});

describe("the status that goes upstream", () => {
  const rows: ReadonlyArray<readonly [string, Ending, number]> = [
    ["604 of one partition is its 404 and never more", 604, 404],
    ["a branch's 482 counts as 404", 482, 404],
    ["404 stays", 404, 404],
    ["410 stays", 410, 410],
    ["a branch's 503 never goes upstream as 503 (RFC 3261 16.7)", 503, 480],
    ["408 becomes 480", 408, 480],
    ["500 becomes 480", 500, 480],
    ["a timeout becomes 480", "timeout", 480],
    ["a transport error becomes 480", "transport-error", 480],
    ["501 stays", 501, 501],
    ["603 stays", 603, 603],
    ["302 stays", 302, 302],
    ["200 stays", 200, 200],
  ];
  for (const [title, ending, status] of rows) it(title, () => expect(upstreamStatus(ending)).toBe(status));
});

describe("proof", () => {
  const all = ["MESSAGE", "INVITE", "SUBSCRIBE"];
  const rows: ReadonlyArray<readonly [string, boolean, Parameters<typeof provesHere>]> = [
    ["MESSAGE 200 proves", true, [all, "MESSAGE", 200]],
    ["MESSAGE 202 is no delivery (RFC 3428) and proves nothing", false, [all, "MESSAGE", 202]],
    ["INVITE 200 proves", true, [all, "INVITE", 200]],
    ["any INVITE 2xx proves", true, [all, "INVITE", 202]],
    ["SUBSCRIBE 200 alone proves nothing", false, [all, "SUBSCRIBE", 200]],
    ["SUBSCRIBE 200 and an active NOTIFY prove", true, [all, "SUBSCRIBE", 200, "active"]],
    ["SUBSCRIBE 202 and an active NOTIFY prove", true, [all, "SUBSCRIBE", 202, "active"]],
    ["a pending NOTIFY proves nothing", false, [all, "SUBSCRIBE", 200, "pending"]],
    ["a terminated NOTIFY proves nothing", false, [all, "SUBSCRIBE", 200, "terminated"]],
    ["without the server's mark nothing proves", false, [["INVITE"], "MESSAGE", 200]],
    ["without any mark nothing proves", false, [[], "INVITE", 200]],
    ["no failure proves", false, [all, "MESSAGE", 404]],
    ["no provisional answer proves", false, [all, "INVITE", 180]],
    ["no redirection proves", false, [all, "INVITE", 302]],
    ["another method with a mark counts as MESSAGE does", true, [["OPTIONS"], "OPTIONS", 200]],
  ];
  for (const [title, expected, args] of rows) it(title, () => expect(provesHere(...args)).toBe(expected));
});
