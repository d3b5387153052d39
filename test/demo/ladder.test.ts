import { describe, expect, test } from "vitest";
import { drawLadder, labelOf } from "../../src/demo/ladder.ts";

const COLUMNS = [
  { name: "east", port: 1 },
  { name: "codomain", port: 2 },
  { name: "west", port: 3 },
];

test("each message is an arrow from its sender's line to its receiver's, others' lines stay", () => {
  const arrows = [
    { from: 1, to: 2, label: "MESSAGE bob" },
    { from: 2, to: 1, label: "404 MESSAGE" },
    { from: 1, to: 3, label: "x" },
  ];
  expect(drawLadder(COLUMNS, arrows)).toEqual([
    "         east                codomain                west",
    "           │                     │                     │",
    "           │──── MESSAGE bob ───>│                     │",
    "           │<─── 404 MESSAGE ────│                     │",
    "           │──────────────────── x ───────────────────>│",
  ]);
});

test("messages of parties that have no column are left out", () => {
  expect(drawLadder(COLUMNS, [{ from: 9, to: 1, label: "x" }])).toHaveLength(2);
});

describe("labels", () => {
  const message = (first: string, ...lines: string[]) => [first, ...lines, "", ""].join("\r\n");

  test.each([
    [message("MESSAGE sip:alice@example.com SIP/2.0", "CSeq: 1 MESSAGE"), "MESSAGE alice"],
    [message("REGISTER sip:example.com SIP/2.0", "To: <sip:bob@example.com>", "CSeq: 1 REGISTER"), "REGISTER bob"],
    [message("NOTIFY sip:1.2.3.4 SIP/2.0", "Subscription-State: active;expires=3"), "NOTIFY active"],
    [message("SIP/2.0 404 Not Found", "CSeq: 7 INVITE"), "404 INVITE"],
    [message("SIP/2.0 100 Trying", "CSeq: 7 INVITE"), undefined],
    [message("OPTIONS sip:1.2.3.4 SIP/2.0", "CSeq: 7 OPTIONS"), undefined],
    [message("SIP/2.0 200 OK", "CSeq: 7 OPTIONS"), undefined],
  ])("%#: %j", (text, label) => {
    expect(labelOf(text)).toBe(label);
  });
});
