import { sharedBytes } from "./shared.ts";

/** One message of RFC 4475, as `rfc4475/expect.json` describes it. */
export interface Expectation {
  readonly name: string;
  readonly file: string;
  readonly section: string;
  readonly kind: "request" | "response";
  readonly body_octets_present: number | null;
  readonly parser: "must-accept" | "should-accept" | "should-reject" | "may-reject" | "must-not-break" | "drop";
  readonly proxy: {
    readonly action: string;
    readonly acceptable_status: readonly number[];
    readonly preferred_status: number | null;
    readonly must: readonly string[];
    readonly must_not: readonly string[];
  };
}

export interface Torture {
  readonly expectation: Expectation;
  readonly raw: string;
}

export function tortures(): Torture[] {
  const { messages } = JSON.parse(Buffer.from(sharedBytes("data/rfc4475/expect.json"), "latin1").toString("utf8")) as {
    messages: Expectation[];
  };
  const all = messages.map((expectation) => ({ expectation, raw: sharedBytes(`data/rfc4475/${expectation.file}`) }));
  // The archive's baddn lacks its empty line; the repaired one is held to the same words.
  const baddn = all.find((each) => each.expectation.name === "baddn")!.expectation;
  const repaired = { ...baddn, name: "baddn+", file: "extra/baddn-terminated.dat" };
  return [...all, { expectation: repaired, raw: sharedBytes(`data/rfc4475/${repaired.file}`) }];
}
