import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { CedarDecider } from "../../src/policy/cedar-decider.ts";
import { CEDAR_SCHEMA, checkCedar } from "../../src/policy/cedar-engine.ts";
import { checkRules } from "../../src/policy/check-rules.ts";
import { readAnswer } from "../../src/policy/point-answer.ts";
import { evaluationOf } from "../../src/policy/point-question.ts";
import { createSimulation } from "../../src/runtime/simulated.ts";

const PAGE = readFileSync(new URL("../../docs/policy.md", import.meta.url), "utf8");

/** What stands between fences of this kind. */
function blocks(kind: string): string[] {
  return [...PAGE.matchAll(new RegExp(`\`\`\`${kind}\n(.*?)\`\`\``, "gs"))].map((match) => match[1]!);
}

describe("docs/policy.md", () => {
  it("has rules in which nothing is amiss", () => {
    const [presence, messages, ...more] = blocks("xml");
    expect(more).toEqual([]);
    expect(checkRules("pres-rules", presence!)).toEqual([]);
    expect(checkRules("im-rules", messages!)).toEqual([]);
  });

  it("has configurations that are one", () => {
    const texts = blocks("yaml");
    expect(texts).toHaveLength(3);
    for (const text of texts) {
      const domains = text.startsWith("domains:") ? "" : "domains: [example.com, lab.example.com]\n";
      const whole = `${domains}servers: { east: { uri: "sip:127.0.0.11:5060" } }\n${text}`;
      const loaded = loadConfig(whole, { env: { PDP_TOKEN: "x" }, readFile: () => "" });
      expect(loaded.config === undefined ? loaded.faults : []).toEqual([]);
    }
  });

  it("has a question and an answer of the decision point as they are", () => {
    const [question, answer] = blocks("json").map((each) => JSON.parse(each) as unknown);
    const asked = {
      watcher: "bob@example.com",
      trusted: true,
      aor: "alice@example.com",
      event: "presence",
      sphere: "work",
    };
    expect(question).toEqual(evaluationOf(asked, null, Date.parse("2026-01-01T12:00:00Z")));
    expect(readAnswer(answer)).toEqual({
      decision: true,
      handling: "allow",
      permissions: {
        services: new Set(["service-uri-scheme sip", "class biz"]),
        persons: "all",
        devices: new Set(),
        attributes: new Set(["activities", "note"]),
        userInput: "bare",
        unknown: new Set(["{urn:vendor}foo"]),
      },
      rule: "colleagues",
      ttlMs: 60_000,
      bySphere: true,
    });
  });

  it("has the schema of the policies, and policies that do what it says", () => {
    const plain = (text: string): string => text.replace(/\s+/g, " ");
    expect(plain(PAGE)).toContain(plain(CEDAR_SCHEMA).trim());
    const [text, ...more] = blocks("cedar");
    expect([checkCedar(text!), more]).toEqual([[], []]);
    const cedar = new CedarDecider(createSimulation({ seed: 1 }).runtime(["10.0.0.1"]), { file: "f", text: text! });
    const handling = (watcher: string, trusted = true): string =>
      cedar.watcher({ watcher, trusted, aor: "alice@example.com", event: "presence" }).handling;
    expect(handling("alice@example.com")).toBe("allow");
    expect(handling("bob@example.com")).toBe("allow");
    expect(handling("bob@example.com", false)).toBe("confirm");
    expect(handling("eve@evil.example")).toBe("confirm");
    expect(handling("mallory@example.com")).toBe("block");
  });
});
