import { expect, test } from "vitest";
import { sipp, startSipp } from "../support/sipp.ts";

/** The scenarios against each other with nothing in between: what fails later is then not theirs. */
const CALLEE = { host: "127.0.0.62", port: 5060 };
const ROWS = [["alice", "bob"]];

test.each([
  ["message-uas", "message-uac"],
  ["invite-uas", "invite-uac"],
  ["cancel-uas", "cancel-uac"],
] as const)("%s answers %s", async (answering, calling) => {
  const uas = startSipp({ scenario: answering, local: CALLEE, calls: 5, seconds: 15 });
  const uac = await sipp({
    scenario: calling,
    local: { host: "127.0.0.61", port: 5060 },
    remote: CALLEE,
    calls: 5,
    rows: ROWS,
    seconds: 15,
  });
  expect(uac.errors).toBe("");
  expect(uac).toMatchObject({ code: 0, succeeded: 5, failed: 0 });
  expect(await uas.result).toMatchObject({ code: 0, succeeded: 5, failed: 0 });
});
