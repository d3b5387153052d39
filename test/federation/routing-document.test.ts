import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ALGORITHMS, MOST_WEIGHT } from "../../src/federation/routing-choice.ts";
import { checkRouting, parseRouting, printRouting, ROUTING_NAMESPACE } from "../../src/federation/routing-document.ts";
import { MalformedDocument } from "../../src/presence/xml.ts";
import { runs } from "./make.ts";

const doc = (inside: string, attributes = 'algorithm="weighted"'): string =>
  `<im-routing xmlns="${ROUTING_NAMESPACE}" ${attributes}>${inside}</im-routing>`;

describe("the im-routing document", () => {
  it("says algorithm and weights; of a server without a weight 1", () => {
    const { algorithm, weights } = parseRouting(doc('<server name="east" weight="3"/><server name="wést"/>'));
    expect(algorithm).toBe("weighted");
    expect({ ...weights }).toEqual({ east: 3, wést: 1 });
  });

  it("without an algorithm is `all`", () => {
    expect(parseRouting(doc("", "")).algorithm).toBe("all");
  });

  it("may have elements and attributes of others in it", () => {
    expect(parseRouting(doc('<x:note xmlns:x="urn:other">mine</x:note>')).algorithm).toBe("weighted");
    expect(parseRouting(doc("", 'algorithm="all" xmlns:x="urn:other" x:a="1"')).algorithm).toBe("all");
  });

  it.each([
    ["another root", "<ruleset/>", "no im-routing"],
    ["an unknown algorithm", doc("", 'algorithm="best"'), "none of all, mostactive"],
    ["an unknown attribute", doc("", 'algorithm="all" hint="x"'), "no attribute hint"],
    ["an unknown element", doc("<servers/>"), "no element servers"],
    ["text", doc("east"), "text in it"],
    ["a server without a name", doc("<server/>"), "no name"],
    ["a server twice", doc('<server name="a"/><server name="a"/>'), "named twice"],
    ["a weight that is none", doc('<server name="a" weight="-1"/>'), "whole number"],
    ["a weight that is too great", doc('<server name="a" weight="101"/>'), "whole number"],
    ["a document type", `<!DOCTYPE a>${doc("")}`, "document type"],
    ["what is no XML", "algorithm=all", "not well-formed"],
    ["too many servers", doc(Array.from({ length: 101 }, (_, i) => `<server name="s${i}"/>`).join("")), "More than"],
  ])("with %s is refused, and says why", (_, text, why) => {
    expect(() => checkRouting(text)).toThrow(MalformedDocument);
    expect(() => checkRouting(text)).toThrow(why);
  });

  it("is read back as it was printed", () => {
    const setting = fc.record({
      algorithm: fc.constantFrom(...ALGORITHMS),
      weights: fc.dictionary(
        fc.string({ minLength: 1, maxLength: 20 }).filter((name) => /^[ -~é-ü]+$/.test(name)),
        fc.integer({ min: 0, max: MOST_WEIGHT }),
      ),
    });
    fc.assert(
      fc.property(setting, (each) => {
        const read = parseRouting(printRouting(each));
        expect(read.algorithm).toBe(each.algorithm);
        expect({ ...read.weights }).toEqual({ ...each.weights });
      }),
      runs(200),
    );
  });
});
