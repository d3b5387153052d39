import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalForm } from "../../src/presence/canonical.ts";
import { type Composition, join, NOTHING_KNOWN, type Report, seenFrom } from "../../src/presence/composition.ts";
import { idsOf } from "../../src/presence/ids.ts";
import { parsePidf } from "../../src/presence/pidf.ts";
import { project } from "../../src/presence/projection.ts";
import { withoutMark } from "../../src/presence/source-mark.ts";
import { isElement, printXml, type XmlElement } from "../../src/presence/xml.ts";
import { documents, realDocuments } from "../support/pidf-documents.ts";
import { hasShared } from "../torture/shared.ts";

const ENTITY = "pres:alice@example.com";
const SOURCES = ["east", "west", "north", "s o/uth"];

const top = (document: XmlElement): XmlElement[] => document.children.filter(isElement);
const through = (document: XmlElement): XmlElement => parsePidf(printXml(document));
const shown = (composition: Composition): string => printXml(project(composition, ENTITY));
const meaning = (composition: Composition): string => canonicalForm(project(composition, ENTITY));

function told(composition: Composition): unknown {
  return [...composition]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([source, { epoch, cseq, document }]) => [
      source,
      epoch,
      cseq,
      typeof document === "string" ? document : printXml(document),
    ]);
}

const report = (document: fc.Arbitrary<XmlElement>): fc.Arbitrary<Report> =>
  fc.record({
    epoch: fc.integer({ min: 1, max: 2 }),
    cseq: fc.integer({ min: 1, max: 3 }),
    document: fc.oneof({ weight: 8, arbitrary: document }, fc.constantFrom("none" as const, "gone" as const)),
  });

function compositions(document: fc.Arbitrary<XmlElement> = documents()): fc.Arbitrary<Composition> {
  return fc
    .uniqueArray(fc.tuple(fc.constantFrom(...SOURCES), report(document)), {
      selector: ([source]) => source,
      maxLength: 4,
    })
    .map((entries) => new Map(entries));
}

/** Where some servers ask us for what the others have, and show it as their own: echoes, fresh and stale. */
const withEchoes: fc.Arbitrary<Composition> = fc
  .tuple(compositions(), compositions(), fc.subarray(SOURCES), fc.constantFrom("", ...SOURCES))
  .map(([now, before, onward, unasked]) => {
    const out = new Map(now);
    for (const server of onward) {
      const { document } = now.get(server) ?? { document: "none" };
      const echoed = top(through(project(seenFrom(server, before), ENTITY)));
      const own = typeof document === "string" ? through(project(NOTHING_KNOWN, ENTITY)) : document;
      out.set(server, { epoch: 1, cseq: 1, document: { ...own, children: [...own.children, ...echoed] } });
    }
    out.delete(unasked);
    return out;
  });

const RUNS = { numRuns: 200, seed: 2778 };

describe("the join (models.md, Composition)", () => {
  it("is commutative", () => {
    fc.assert(
      fc.property(compositions(), compositions(), (a, b) => {
        expect(told(join(a, b))).toEqual(told(join(b, a)));
        expect(shown(join(a, b))).toBe(shown(join(b, a)));
      }),
      RUNS,
    );
  });

  it("is associative", () => {
    fc.assert(
      fc.property(compositions(), compositions(), compositions(), (a, b, c) => {
        expect(told(join(join(a, b), c))).toEqual(told(join(a, join(b, c))));
      }),
      RUNS,
    );
  });

  it("is idempotent: what is known already makes nothing new", () => {
    fc.assert(
      fc.property(compositions(), compositions(), (a, b) => {
        expect(join(a, a)).toBe(a);
        expect(join(join(a, b), b)).toStrictEqual(join(a, b));
        expect(join(a, NOTHING_KNOWN)).toBe(a);
      }),
      RUNS,
    );
  });

  it("reports that come in any order, twice and by several ways make the same document", () => {
    const reports = fc.array(fc.tuple(fc.constantFrom(...SOURCES), report(documents())), { maxLength: 6 });
    const arrivals = reports.chain((each) =>
      fc.tuple(fc.constant(each), fc.shuffledSubarray(each, { minLength: each.length }), fc.subarray(each)),
    );
    fc.assert(
      fc.property(arrivals, ([inOrder, shuffled, again]) => {
        const joined = (list: typeof inOrder) =>
          list.reduce<Composition>((known, entry) => join(known, new Map([entry])), NOTHING_KNOWN);
        expect(shown(joined([...shuffled, ...again]))).toBe(shown(joined(inOrder)));
      }),
      RUNS,
    );
  });

  it("takes the later leg, then the later NOTIFY; a device's clock orders nothing", () => {
    const at = (timestamp: string) =>
      parsePidf(
        `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${ENTITY}"><tuple id="t"><status/><timestamp>${timestamp}</timestamp></tuple></presence>`,
      );
    const newest = at("2001-01-01T00:00:00Z");
    const old = at("2099-01-01T00:00:00Z");
    const of = (epoch: number, cseq: number, document: Report["document"]) =>
      new Map([["east", { epoch, cseq, document }]]);
    expect(join(of(2, 1, newest), of(1, 99, old))).toStrictEqual(of(2, 1, newest));
    expect(join(of(1, 9, old), of(1, 10, newest))).toStrictEqual(of(1, 10, newest));
    expect(join(of(1, 10, "none"), of(1, 9, old))).toStrictEqual(of(1, 10, "none"));
  });
});

describe("the projection", () => {
  /** What must be seen of a composition, by what each element says without its mark. */
  function owed(composition: Composition): Set<string> {
    const forms = new Set<string>();
    for (const [carrier, { document }] of composition) {
      if (typeof document === "string") continue;
      for (const each of top(document)) {
        const { element, source } = withoutMark(each);
        if (source === null || source === carrier || !composition.has(source)) forms.add(canonicalForm(element));
      }
    }
    return forms;
  }

  const ofRoots = (form: string): boolean => form.startsWith('["urn:x-codomain:source","presence"');

  function seen(document: XmlElement): string[] {
    const forms = top(document).map((each) => canonicalForm(withoutMark(each).element));
    return forms.filter((form) => !ofRoots(form));
  }

  it("loses nothing, adds nothing, and shows everything once", () => {
    fc.assert(
      fc.property(withEchoes, (composition) => {
        const forms = seen(through(project(composition, ENTITY)));
        expect(new Set(forms).size).toBe(forms.length);
        expect(forms.sort()).toEqual([...owed(composition)].filter((form) => !ofRoots(form)).sort());
      }),
      RUNS,
    );
  });

  it("keeps what a source's root says besides", () => {
    const root = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${ENTITY}" xmlns:x="urn:x" x:y="1" xml:lang="fr"><note>n</note></presence>`;
    const printed = shown(new Map([["east", { epoch: 1, cseq: 1, document: parsePidf(root) }]]));
    expect(printed).toContain('<note xml:lang="fr" cdm:source="east">n</note>');
    expect(printed).toContain('<cdm:presence x:y="1" xml:lang="fr" cdm:source="east"/>');
  });

  it("gives every element its source", () => {
    fc.assert(
      fc.property(withEchoes, (composition) => {
        for (const each of top(project(composition, ENTITY))) expect(SOURCES).toContain(withoutMark(each).source);
      }),
      RUNS,
    );
  });

  it("what a source drops is gone, from whatever it is echoed", () => {
    fc.assert(
      fc.property(withEchoes, fc.constantFrom(...SOURCES), (composition, server) => {
        const dropped = join(composition, new Map([[server, { epoch: 3, cseq: 1, document: "none" }]]));
        for (const each of top(project(dropped, ENTITY))) expect(withoutMark(each).source).not.toBe(server);
      }),
      RUNS,
    );
  });

  it("has no id twice where its sources have none twice", () => {
    const unique = documents().filter((each) => new Set(idsOf(each)).size === idsOf(each).length);
    fc.assert(
      fc.property(compositions(unique), (composition) => {
        const ids = idsOf(through(project(composition, ENTITY)));
        expect(new Set(ids).size).toBe(ids.length);
      }),
      RUNS,
    );
  });

  it("fed back through one more source it stays as it is", () => {
    fc.assert(
      fc.property(withEchoes, fc.constantFrom("a", "middle", "z"), (composition, carrier) => {
        const document = through(project(composition, ENTITY));
        const fedBack = join(composition, new Map([[carrier, { epoch: 1, cseq: 1, document }]]));
        expect(meaning(fedBack)).toBe(meaning(composition));
        const relayed = new Map([[carrier, { epoch: 1, cseq: 1, document }]]);
        expect(meaning(relayed)).toBe(meaning(composition));
      }),
      RUNS,
    );
  });

  it("a server is not shown what came by it: what has ended does not go round", () => {
    const document = (inner: string) =>
      parsePidf(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${ENTITY}">${inner}</presence>`);
    const of = (cseq: number, inner: string): Report => ({ epoch: 1, cseq, document: document(inner) });
    const east = new Map([["east", of(1, '<tuple id="t"><status/></tuple>')]]);
    const echo = new Map([["west", { epoch: 1, cseq: 1, document: through(project(east, ENTITY)) }]]);
    const both = join(east, echo);
    expect(top(project(seenFrom("west", both), ENTITY))).toHaveLength(1);
    const after = join(both, new Map([["east", of(2, "")]]));
    expect(top(project(after, ENTITY))).toEqual([]);
    expect(top(project(seenFrom("west", echo), ENTITY))).toEqual([]);
  });

  it("renames ids that collide, all of them, and tells what they were; schemas have room for the mark", () => {
    const tuple = (basic: string) =>
      parsePidf(
        `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${ENTITY}"><tuple id="t1"><status><basic>${basic}</basic></status><contact>sip:a@b</contact></tuple></presence>`,
      );
    const composition = new Map([
      ["west", { epoch: 1, cseq: 1, document: tuple("open") }],
      ["east", { epoch: 1, cseq: 1, document: tuple("closed") }],
    ]);
    expect(shown(composition)).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n' +
        `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:cdm="urn:x-codomain:source" entity="${ENTITY}">` +
        '<tuple id="t1.east"><status><basic>closed</basic></status><cdm:source server="east"><cdm:renamed id="t1.east" was="t1"/></cdm:source><contact>sip:a@b</contact></tuple>' +
        '<tuple id="t1.west"><status><basic>open</basic></status><cdm:source server="west"><cdm:renamed id="t1.west" was="t1"/></cdm:source><contact>sip:a@b</contact></tuple>' +
        "</presence>",
    );
  });

  it("ids of RPID, of shapes in locations (RFC 4119) and xml:id too, and what refers to them; others' `id` may be anything", () => {
    const located = (place: string) =>
      parsePidf(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
        xmlns:gml="http://www.opengis.net/gml" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:xlink="http://www.w3.org/1999/xlink"
        entity="${ENTITY}"><dm:person id="p-${place}"><rpid:mood id="m"/><gml:Point gml:id="g">${place}</gml:Point>
        <x xmlns="urn:x" xml:id="i" id="m" xlink:href="#g"/></dm:person></presence>`);
    const [east] = top(
      project(
        new Map([
          ["east", { epoch: 1, cseq: 1, document: located("here") }],
          ["west", { epoch: 1, cseq: 1, document: located("there") }],
        ]),
        ENTITY,
      ),
    );
    const printed = printXml(east!);
    expect(printed).toContain('<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" id="p-here">');
    expect(printed).toMatch(/<rpid:mood [^>]*\bid="m\.east"/);
    expect(printed).toMatch(/<gml:Point [^>]*gml:id="g\.east"/);
    expect(printed).toMatch(/<x [^>]*xml:id="i\.east" id="m" [^>]*xlink:href="#g\.east"/);
    expect(canonicalForm(withoutMark(east!).element)).toBe(canonicalForm(top(located("here"))[0]!));
  });

  it("of servers that say the same one element is shown, until one says another thing", () => {
    const closed = parsePidf(
      `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${ENTITY}"><tuple id="gone"><status><basic>closed</basic></status></tuple></presence>`,
    );
    const of = (cseq: number, document: Report["document"]): Report => ({ epoch: 1, cseq, document });
    const both = new Map([
      ["west", of(1, closed)],
      ["east", of(1, closed)],
    ]);
    expect(top(project(both, ENTITY)).map((each) => withoutMark(each).source)).toEqual(["east"]);
    expect(
      top(project(join(both, new Map([["east", of(2, "none")]])), ENTITY)).map((each) => withoutMark(each).source),
    ).toEqual(["west"]);
  });
});

describe("of two reports with the same epoch and CSeq everybody takes the same", () => {
  const of = (inner: string) =>
    new Map([
      [
        "east",
        {
          epoch: 1,
          cseq: 1,
          document: parsePidf(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="${ENTITY}">${inner}</presence>`),
        },
      ],
    ]);

  it("the greater canonical form, however it is printed", () => {
    const less = of('<z:note xmlns:z="urn:ietf:params:xml:ns:pidf">1</z:note>');
    const more = of("<note>2</note>");
    expect(join(less, more)).toStrictEqual(more);
    expect(join(more, less)).toBe(more);
  });

  it("of equal ones the greater text; where that is equal too it is no news", () => {
    const one = of("<note/>");
    const spaced = of(" <note/>");
    expect(canonicalForm(one.get("east")!.document)).toBe(canonicalForm(spaced.get("east")!.document));
    expect(shownAs(join(one, spaced))).toBe(shownAs(join(spaced, one)));
    expect(join(one, of("<note/>"))).toBe(one);
  });

  const shownAs = (composition: Composition) => printXml(composition.get("east")!.document as XmlElement);
});

describe("whose an element is, and where it stands", () => {
  const of = (inner: string): Report => ({
    epoch: 1,
    cseq: 1,
    document: parsePidf(
      `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:cdm="urn:x-codomain:source" entity="${ENTITY}">${inner}</presence>`,
    ),
  });

  it("a server's own rather than what is said of one that is no source here", () => {
    const echo = '<tuple id="t"><status/><cdm:source server="aaa"/></tuple>';
    const composition = new Map([
      ["west", of(echo)],
      ["east", of('<tuple id="t"><status/></tuple>')],
    ]);
    for (const either of [composition, new Map([...composition].reverse())]) {
      expect(top(project(either, ENTITY)).map((each) => withoutMark(each).source)).toEqual(["east"]);
    }
    composition.delete("east");
    expect(top(project(composition, ENTITY)).map((each) => withoutMark(each).source)).toEqual(["aaa"]);
  });

  it("tuples, notes, all else (RFC 3863 4.1.1), whatever order the sources have them in", () => {
    const composition = new Map([
      ["east", of('<x xmlns="urn:x"/><note>1</note><tuple id="a"/>')],
      ["west", of('<note>2</note><tuple id="b"/><tuple id="c"/>')],
    ]);
    expect(top(project(composition, ENTITY)).map((each) => each.local)).toEqual([
      "tuple",
      "tuple",
      "tuple",
      "note",
      "note",
      "x",
    ]);
  });
});

describe.skipIf(!hasShared("data/presence/examples"))("of documents printed in RFCs (skipped without them)", () => {
  const real = hasShared("data/presence/examples") ? realDocuments() : [];
  const all = (): Composition =>
    new Map(real.map(({ name, presence }) => [name, { epoch: 1, cseq: 1, document: presence }]));

  it("all at once: nothing lost, nothing twice, and fed back nothing new", () => {
    const composition = all();
    const elements = top(through(project(composition, ENTITY))).map((each) => canonicalForm(withoutMark(each).element));
    expect(new Set(elements).size).toBe(elements.length);
    let owed = 0;
    for (const { name, presence } of real) {
      for (const each of top(presence)) {
        owed++;
        const alone = { ...each, declared: new Map([...(presence.declared ?? []), ...(each.declared ?? [])]) };
        expect(elements, name).toContain(canonicalForm(alone));
      }
    }
    expect(owed).toBeGreaterThan(60);
    const fedBack = new Map(composition).set("m", {
      epoch: 1,
      cseq: 1,
      document: through(project(composition, ENTITY)),
    });
    expect(meaning(fedBack)).toBe(meaning(composition));
  });

  it("joined in any order", () => {
    const entries = [...all()];
    const one = entries.reduce<Composition>((known, each) => join(known, new Map([each])), NOTHING_KNOWN);
    const other = entries.reduceRight<Composition>((known, each) => join(known, new Map([each])), NOTHING_KNOWN);
    expect(shown(one)).toBe(shown(other));
  });
});
