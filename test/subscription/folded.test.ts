import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fold, unfold } from "../../src/subscription/folded.ts";

const NAMES = { id: "cdm-0123456789abcdefghij", aor: "alice@example.com", watcher: "bob@example.com" };

describe("a folded dialog", () => {
  it("is the dialog again, whatever stands in it", () => {
    const piece = fc.oneof(
      fc.constantFrom(...Object.values(NAMES), "\n", "sip:", "<", ">"),
      fc.string({ unit: "binary" }).map((each) => Buffer.from(each).toString("latin1")),
      fc.constantFrom("\x01", "\x02", "\x03", "\x04"),
    );
    fc.assert(
      fc.property(fc.array(piece), (pieces) => {
        const text = pieces.join("");
        expect(unfold(fold(text, NAMES), NAMES)).toBe(text);
      }),
    );
  });

  it("is also where one name is part of another", () => {
    for (const watcher of [
      "",
      NAMES.aor,
      "e@example.com",
      `al${NAMES.aor}`,
      "cdm-0123456789abcdefghij@example.com",
      "\x02x",
    ]) {
      const names = { ...NAMES, watcher };
      const text = `\nc\n${names.id}.1\n<sip:${names.watcher}>\n<sip:${names.aor}>\n${names.id}x`;
      expect(unfold(fold(text, names), names)).toBe(text);
    }
  });

  it("has of what its subscription has anyway a character each", () => {
    const text = `\nc\n${NAMES.id}.1\nt\n<sip:${NAMES.watcher}>\n<sip:${NAMES.aor}>\nsip:east.example.com`;
    const names = Object.values(NAMES).join("").length;
    expect(fold(text, NAMES)).toHaveLength(text.length - names + 4);
  });
});
