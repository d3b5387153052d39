import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judgePresence } from "../../src/policy/judge.ts";
import { joinPermissions, type Permissions } from "../../src/policy/permissions.ts";
import { readPresenceRules } from "../../src/policy/pres-rules.ts";
import { transformOf } from "../../src/policy/transform.ts";
import { canonicalForm } from "../../src/presence/canonical.ts";
import type { Composition } from "../../src/presence/composition.ts";
import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE, parsePidf, RPID_NAMESPACE } from "../../src/presence/pidf.ts";
import { project } from "../../src/presence/projection.ts";
import { SOURCE_NAMESPACE, withoutMark } from "../../src/presence/source-mark.ts";
import { attributeNamed, isElement, printXml, textOf, type XmlElement } from "../../src/presence/xml.ts";
import { documents, realDocuments } from "../support/pidf-documents.ts";
import { richDocuments } from "../support/rich-documents.ts";
import { ALL, handling, rule, ruleset } from "../support/rules.ts";
import { hasShared } from "../torture/shared.ts";

const ENTITY = "pres:alice@example.com";
const XML = "http://www.w3.org/XML/1998/namespace";

/** What a rule with these transformations grants. */
function granted(transformations: string): Permissions {
  const rules = readPresenceRules(ruleset(rule("r", "", handling("allow"), transformations)));
  return judgePresence(rules, { identity: null, sphere: null, now: 0 }).permissions;
}

const shown = (permissions: Permissions, presence: XmlElement): XmlElement =>
  transformOf(permissions)?.(presence) ?? presence;
const through = (presence: XmlElement): XmlElement => parsePidf(printXml(presence));
const elements = (parent: XmlElement): XmlElement[] => parent.children.filter(isElement);
const composed = (...sources: XmlElement[]): XmlElement =>
  project(
    new Map(sources.map((document, n) => [["east", "west", "north"][n]!, { epoch: 1, cseq: 1, document }])),
    ENTITY,
  );

const pidf = (inner: string): XmlElement =>
  parsePidf(
    `<presence xmlns="${PIDF_NAMESPACE}" xmlns:dm="${DATA_MODEL_NAMESPACE}" xmlns:r="${RPID_NAMESPACE}" ` +
      `xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" xmlns:x="urn:x" entity="${ENTITY}">${inner}</presence>`,
  );

/** Local names of what is shown, a component a text. */
function told(presence: XmlElement): string[] {
  const name = (each: XmlElement): string => {
    const inner = elements(each).map(name);
    return inner.length === 0 ? each.local : `${each.local}(${inner.join(" ")})`;
  };
  return elements(presence).map(name);
}

const BASIC = "<status><basic>open</basic></status>";
const SERVICES = "<provide-services><all-services/></provide-services>";
const PERSONS = "<provide-persons><all-persons/></provide-persons>";
const DEVICES = "<provide-devices><all-devices/></provide-devices>";

describe("components (RFC 5025 3.3.1)", () => {
  const tuple = (id: string, contact: string, inner = ""): string =>
    `<tuple id="${id}">${BASIC}${inner}<contact>${contact}</contact></tuple>`;
  const document = pidf(
    tuple("t1", "sip:Alice@EXAMPLE.com;transport=tcp", "<r:class>biz</r:class>") +
      tuple("t2", "mailto:alice@example.com") +
      tuple("t3", "SIP:alice@home.example.com", "<r:class>Biz</r:class>") +
      '<dm:device id="d1"><dm:deviceID>urn:uuid:F81D4FAE-7dec-11d0-a765-00a0c91e6bf6</dm:deviceID></dm:device>' +
      '<dm:device id="d2"><r:class>biz</r:class><dm:deviceID>mac:1</dm:deviceID></dm:device>' +
      '<dm:person id="p1"><r:class>biz</r:class></dm:person><dm:person id="p2"/>',
  );
  const ids = (gives: string): string[] =>
    elements(shown(granted(gives), document)).map((each) => attributeNamed(each, "id")!);

  it.each([
    ["", []],
    [SERVICES, ["t1", "t2", "t3"]],
    [PERSONS, ["p1", "p2"]],
    [DEVICES, ["d1", "d2"]],
    ["<provide-services><class>biz</class></provide-services>", ["t1"]],
    ["<provide-services><occurrence-id>t2</occurrence-id></provide-services>", ["t2"]],
    ["<provide-services><occurrence-id>T2</occurrence-id></provide-services>", []],
    ["<provide-services><service-uri>sip:Alice@example.com;transport=TCP</service-uri></provide-services>", ["t1"]],
    ["<provide-services><service-uri>sip:Alice@example.com</service-uri></provide-services>", []],
    ["<provide-services><service-uri-scheme>sip</service-uri-scheme></provide-services>", ["t1"]],
    [
      "<provide-services><service-uri-scheme>mailto</service-uri-scheme><class>biz</class></provide-services>",
      ["t1", "t2"],
    ],
    ["<provide-devices><deviceID>URN:UUID:f81d4fae-7dec-11d0-a765-00a0c91e6bf6</deviceID></provide-devices>", ["d1"]],
    ["<provide-devices><class>biz</class></provide-devices>", ["d2"]],
    ["<provide-persons><class>biz</class></provide-persons>", ["p1"]],
    ["<provide-persons><occurrence-id>p2</occurrence-id></provide-persons>", ["p2"]],
    ["<provide-persons/><provide-all-attributes/>", []],
  ])("%s shows %o", (gives, expected) => {
    expect(ids(gives)).toEqual(expected);
  });
});

describe("attributes (RFC 5025 3.3.2)", () => {
  it("contact, service-class, basic and timestamp of a tuple, timestamps, and the deviceID of a device are always shown", () => {
    const document = pidf(
      `<tuple id="t"><status><basic>open</basic><x:s/></status><dm:deviceID>a</dm:deviceID><r:service-class><r:postal/></r:service-class><x:y/>` +
        "<contact>sip:a@b</contact><note>n</note><timestamp>2026-01-01T00:00:00Z</timestamp></tuple>" +
        '<dm:person id="p"><r:mood/><dm:note>n</dm:note><dm:timestamp>2026-01-01T00:00:00Z</dm:timestamp></dm:person>' +
        '<dm:device id="d"><dm:deviceID>a</dm:deviceID><dm:note>n</dm:note><dm:timestamp>2026-01-01T00:00:00Z</dm:timestamp></dm:device>',
    );
    expect(told(shown(granted(SERVICES + PERSONS + DEVICES), document))).toEqual([
      "tuple(status(basic) service-class(postal) contact timestamp)",
      "person(timestamp)",
      "device(deviceID timestamp)",
    ]);
  });

  it.each([
    "activities",
    "class",
    "mood",
    "place-is",
    "place-type",
    "privacy",
    "relationship",
    "sphere",
    "status-icon",
    "time-offset",
  ])("provide-%s shows it and nothing else, whole", (name) => {
    const inner = [
      "activities",
      "mood",
      "place-is",
      "place-type",
      "privacy",
      "sphere",
      "class",
      "relationship",
      "status-icon",
      "time-offset",
    ]
      .map((each) => `<r:${each} r:id="x"><r:note>about it</r:note><x:more/></r:${each}>`)
      .join("");
    const document = pidf(`<dm:person id="p">${inner}</dm:person>`);
    const person = elements(shown(granted(`${PERSONS}<provide-${name}>true</provide-${name}>`), document))[0]!;
    expect(elements(person).map(canonicalForm)).toEqual(
      elements(elements(document)[0]!)
        .filter((each) => each.local === name)
        .map(canonicalForm),
    );
  });

  it("provide-deviceID is for tuples, provide-note for the notes of all components and of the document", () => {
    const document = pidf(
      `<tuple id="t">${BASIC}<dm:deviceID>a</dm:deviceID><note>n</note></tuple><note>all</note>` +
        '<dm:person id="p"><dm:note>n</dm:note></dm:person>',
    );
    expect(told(shown(granted(`${SERVICES}<provide-deviceID>true</provide-deviceID>`), document))).toEqual([
      "tuple(status(basic) deviceID)",
    ]);
    const notes = "<provide-note>true</provide-note>";
    expect(told(shown(granted(SERVICES + PERSONS + notes), document))).toEqual([
      "tuple(status(basic) note)",
      "note",
      "person(note)",
    ]);
    expect(told(shown(granted(SERVICES + notes), document))).toEqual(["tuple(status(basic) note)"]);
  });

  it.each([
    ["false", []],
    ["bare", [["id"]]],
    ["thresholds", [["idle-threshold", "id"]]],
    ["full", [["idle-threshold", "last-input", "since", "id", "k"]]],
  ])("provide-user-input %s", (value, expected) => {
    const document = pidf(
      '<dm:device id="d"><r:user-input idle-threshold="600" last-input="2004-10-21T13:20:00Z" since="2004-10-21T13:20:00Z" id="u" x:k="1">idle</r:user-input></dm:device>',
    );
    const [device] = elements(shown(granted(`${DEVICES}<provide-user-input>${value}</provide-user-input>`), document));
    expect(elements(device!).map((each) => each.attributes.map(({ local }) => local))).toEqual(expected);
    if (expected.length > 0) expect(textOf(elements(device!)[0]!)).toBe("idle");
  });

  it("provide-unknown-attribute is for one name, and for none that has a permission of its own (3.3.2.14)", () => {
    const document = pidf(
      `<tuple id="t"><status><basic>open</basic><gp:geopriv><x:at/></gp:geopriv></status><x:foo/><x:bar/><r:mood/><r:new/></tuple><x:foo/>`,
    );
    const unknown = (ns: string, name: string): string =>
      `<provide-unknown-attribute ns="${ns}" name="${name}">true</provide-unknown-attribute>`;
    expect(told(shown(granted(SERVICES + unknown("urn:x", "foo")), document))).toEqual(["tuple(status(basic) foo)"]);
    expect(
      told(shown(granted(SERVICES + unknown("urn:ietf:params:xml:ns:pidf:geopriv10", "geopriv")), document)),
    ).toEqual(["tuple(status(basic geopriv(at)))"]);
    const known = unknown(RPID_NAMESPACE, "mood") + unknown(RPID_NAMESPACE, "new");
    expect(told(shown(granted(SERVICES + known), document))).toEqual(["tuple(status(basic))"]);
  });

  it("provide-all-attributes shows all there is in the components that are shown", () => {
    const document = pidf(`<tuple id="t" x:a="1">${BASIC}<x:foo/><note>n</note></tuple><dm:person id="p"/><x:foo/>`);
    const [tuple, ...rest] = elements(shown(granted(`${SERVICES}<provide-all-attributes/>`), document));
    expect(canonicalForm(tuple!)).toBe(canonicalForm(elements(document)[0]!));
    expect(rest).toEqual([]);
    expect(transformOf(granted(ALL))).toBeNull();
  });

  it("nothing is hidden beside: attributes of others, text between elements, namespaces of what was taken out", () => {
    const document = pidf(
      `<tuple id="t" x:place="home">at home <status x:s="1">${"<basic x:b='1'>open</basic>"}</status>` +
        '<contact x:place="home" priority="0.5">sip:a@b<x:y/></contact></tuple>',
    );
    const text = printXml(
      shown(granted(SERVICES), {
        ...document,
        attributes: [...document.attributes, { uri: "urn:x", local: "r", prefix: "x", value: "home" }],
      }),
    );
    expect(text).not.toMatch(/home|urn:x|geopriv|x:/);
    expect(text).toContain('<contact priority="0.5">sip:a@b</contact>');
  });
});

describe("composed documents", () => {
  const east = pidf(`<tuple id="t">${BASIC}<x:e/></tuple><note>east</note>`);
  const west = pidf(`<tuple id="t">${BASIC}<x:w/></tuple><dm:person id="p"><r:mood/></dm:person>`);

  it("keep the source of what is shown, so that it is known again where it comes back", () => {
    const all = shown(granted(SERVICES + PERSONS), composed(east, west));
    expect(elements(all).map((each) => withoutMark(each).source)).toEqual(["east", "west", "west"]);
    expect(elements(all).map((each) => attributeNamed(each, "id"))).toEqual(["t.east", "t.west", "p"]);
  });

  it("a rule knows an occurrence by the id its server gave it, and by the one it is shown with", () => {
    const by = (id: string): string[] =>
      elements(
        shown(
          granted(`<provide-services><occurrence-id>${id}</occurrence-id></provide-services>`),
          composed(east, west),
        ),
      ).map((each) => attributeNamed(each, "id")!);
    expect(by("t")).toEqual(["t.east", "t.west"]);
    expect(by("t.west")).toEqual(["t.west"]);
    expect(by("other")).toEqual([]);
  });

  it("ids of what stands in an occurrence, renamed too, are not its own", () => {
    const inner = pidf('<dm:person id="p"><r:mood id="m"/></dm:person><dm:person id="m"/>');
    const gives = "<provide-persons><occurrence-id>m</occurrence-id></provide-persons>";
    const document = composed(inner, pidf('<dm:person id="q"><r:mood id="m"/></dm:person>'));
    expect(elements(shown(granted(gives), document)).map((each) => attributeNamed(each, "id"))).toEqual(["m.east.2"]);
  });

  it("a mark that a device has made itself carries nothing", () => {
    const forged = pidf(
      `<tuple id="t">${BASIC}<s:source xmlns:s="${SOURCE_NAMESPACE}" server="east" x:at="home">here<s:renamed id="t" was="t" x:at="home"><x:at/></s:renamed><x:at/></s:source></tuple>`,
    );
    const text = printXml(shown(granted(SERVICES), forged));
    expect(text).toContain('server="east"');
    expect(text).not.toMatch(/home|here|x:at/);
  });
});

const COMPONENT_GRANTS = [
  SERVICES,
  PERSONS,
  DEVICES,
  "<provide-services><class>biz</class></provide-services>",
  "<provide-services><occurrence-id>t1</occurrence-id></provide-services>",
  "<provide-services><service-uri-scheme>sip</service-uri-scheme></provide-services>",
  "<provide-services><service-uri>sip:alice@example.com</service-uri></provide-services>",
  "<provide-persons><class>home</class></provide-persons>",
  "<provide-persons><occurrence-id>a</occurrence-id></provide-persons>",
  "<provide-devices><deviceID>urn:device:1</deviceID></provide-devices>",
  "<provide-devices><class>biz</class></provide-devices>",
];
const ATTRIBUTE_GRANTS = [
  ...[
    "activities",
    "class",
    "deviceID",
    "mood",
    "place-is",
    "privacy",
    "relationship",
    "sphere",
    "status-icon",
    "note",
  ].map((each) => `<provide-${each}>true</provide-${each}>`),
  ...["bare", "thresholds", "full"].map((each) => `<provide-user-input>${each}</provide-user-input>`),
  '<provide-unknown-attribute ns="urn:example:unknown" name="e">true</provide-unknown-attribute>',
  '<provide-unknown-attribute ns="urn:ietf:params:xml:ns:pidf:geopriv10" name="geopriv">true</provide-unknown-attribute>',
  "<provide-all-attributes/>",
];
const grants: fc.Arbitrary<string> = fc
  .tuple(fc.subarray(COMPONENT_GRANTS), fc.subarray(ATTRIBUTE_GRANTS, { maxLength: 4 }))
  .map(([components, attributes]) => [...components, ...attributes].join(""));

const presence: fc.Arbitrary<XmlElement> = fc.oneof(
  richDocuments(),
  documents(),
  fc.array(richDocuments(), { minLength: 1, maxLength: 3 }).map((each) => composed(...each)),
);
const RUNS = { numRuns: 300, seed: 5025 };

/** Everything that `inner` says is said in `outer` too: elements in their order, attributes, and texts that are kept. */
function within(inner: XmlElement, outer: XmlElement): boolean {
  if (inner.uri !== outer.uri || inner.local !== outer.local) return false;
  for (const { uri, local, value } of inner.attributes) {
    if (!outer.attributes.some((each) => each.uri === uri && each.local === local && each.value === value))
      return false;
  }
  const text = (each: XmlElement): string => each.children.filter((child) => typeof child === "string").join("");
  if (text(inner) !== "" && text(inner) !== text(outer)) return false;
  let next = 0;
  const others = elements(outer);
  return elements(inner).every((each) => {
    while (next < others.length && !within(each, others[next]!)) next++;
    return next++ < others.length;
  });
}

/** By the text of RFC 5025 alone: what must not be there. */
function forbidden(permissions: Permissions, document: XmlElement): string[] {
  const found: string[] = [];
  const all = permissions.attributes === "all";
  const may = (name: string): boolean => all || (permissions.attributes as ReadonlySet<string>).has(name);
  const look = (each: XmlElement, kind: string): void => {
    const { uri, local } = each;
    if (uri === SOURCE_NAMESPACE) return;
    const known =
      local === "status"
        ? kind === "tuple" && uri === PIDF_NAMESPACE
        : ["contact", "basic"].includes(local)
          ? kind === "tuple"
          : local === "service-class"
            ? kind === "tuple" || all
            : local === "timestamp"
              ? true
              : local === "deviceID"
                ? kind === "device" || may("deviceID")
                : local === "user-input"
                  ? permissions.userInput !== "false"
                  : uri === RPID_NAMESPACE || local === "note"
                    ? may(local)
                    : all || permissions.unknown.has(`{${uri}}${local}`);
    if (!known) found.push(`${kind}/${local}`);
    if (local === "status") for (const inner of elements(each)) look(inner, kind);
    if (local === "user-input" && permissions.userInput !== "full") {
      if (attributeNamed(each, "since") !== undefined || attributeNamed(each, "last-input") !== undefined)
        found.push("since");
      if (permissions.userInput === "bare" && attributeNamed(each, "idle-threshold") !== undefined)
        found.push("threshold");
    }
  };
  const selected = (each: XmlElement, selection: Permissions["services"]): boolean => {
    if (selection === "all") return true;
    const inner = (local: string): string[] =>
      elements(each)
        .filter((child) => child.local === local)
        .map(textOf);
    return [...selection].some((member) => {
      const [type, value] = [member.slice(0, member.indexOf(" ")), member.slice(member.indexOf(" ") + 1)];
      if (type === "occurrence-id") return attributeNamed(each, "id")?.startsWith(value);
      if (type === "class") return !may("class") || inner("class").includes(value);
      if (type === "deviceID") return inner("deviceID").includes(value);
      return inner("contact").some((contact) => contact.startsWith(value));
    });
  };
  for (const each of elements(document)) {
    const kind = each.local;
    const selection =
      kind === "tuple" ? permissions.services : kind === "person" ? permissions.persons : permissions.devices;
    if (kind === "note") {
      if (!may("note") || permissions.persons !== "all") found.push("note");
    } else if (!["tuple", "person", "device"].includes(kind) || !selected(each, selection)) found.push(kind);
    else for (const inner of elements(each)) look(inner, kind);
  }
  return found;
}

describe("laws, over generated documents", () => {
  it("a document never has what the rules do not provide", () => {
    fc.assert(
      fc.property(grants, presence, (gives, document) => {
        const permissions = granted(gives);
        fc.pre(transformOf(permissions) !== null);
        expect(forbidden(permissions, through(shown(permissions, document)))).toEqual([]);
      }),
      RUNS,
    );
  });

  it("nothing is shown that is not in the document", () => {
    fc.assert(
      fc.property(grants, presence, (gives, document) => {
        expect(within(shown(granted(gives), document), document)).toBe(true);
      }),
      RUNS,
    );
  });

  it("more permissions never show less (RFC 4745 1, 10)", () => {
    fc.assert(
      fc.property(grants, grants, presence, (a, b, document) => {
        const both = shown(joinPermissions(granted(a), granted(b)), document);
        expect(within(shown(granted(a), document), both)).toBe(true);
        expect(within(shown(granted(b), document), both)).toBe(true);
      }),
      RUNS,
    );
  });

  it("done again it does nothing more: D = F(D) (RFC 5025 4), but where a class that is not shown has selected", () => {
    fc.assert(
      fc.property(grants, presence, (gives, document) => {
        fc.pre(
          !gives.includes("<class>") || gives.includes("provide-class") || gives.includes("provide-all-attributes"),
        );
        const once = through(shown(granted(gives), document));
        expect(canonicalForm(shown(granted(gives), once))).toBe(canonicalForm(once));
      }),
      RUNS,
    );
  });

  it("whether each server's document is filtered or the composed one, the same is told", () => {
    const meaning = (document: XmlElement): string[] =>
      [...new Set(elements(document).map((each) => canonicalForm(withoutMark(each).element)))].sort();
    fc.assert(
      fc.property(grants, fc.array(richDocuments(), { minLength: 1, maxLength: 3 }), (gives, sources) => {
        const permissions = granted(gives);
        fc.pre(transformOf(permissions) !== null);
        const before = composed(...sources.map((each) => shown(permissions, each)));
        expect(meaning(shown(permissions, composed(...sources)))).toEqual(meaning(before));
      }),
      RUNS,
    );
  });

  it("the document itself is left as it was", () => {
    fc.assert(
      fc.property(grants, presence, (gives, document) => {
        const before = printXml(document);
        shown(granted(gives), document);
        expect(printXml(document)).toBe(before);
      }),
      { ...RUNS, numRuns: 50 },
    );
  });
});

describe.skipIf(!hasShared("data/presence/examples"))(
  "laws, over the documents printed in RFCs (skipped without the shared examples)",
  () => {
    it("hold for each alone and for two composed", () => {
      const real = realDocuments();
      expect(real.length).toBeGreaterThan(40);
      const every = fc.sample(grants, { numRuns: 12, seed: 1 });
      real.forEach(({ name, presence: document }, n) => {
        const together: Composition = new Map([
          ["east", { epoch: 1, cseq: 1, document }],
          ["west", { epoch: 1, cseq: 1, document: real[(n + 1) % real.length]!.presence }],
        ]);
        for (const each of [document, project(together, ENTITY)]) {
          let widest = granted("");
          for (const gives of every) {
            const permissions = granted(gives);
            const some = shown(permissions, each);
            if (transformOf(permissions) !== null) expect([name, ...forbidden(permissions, some)]).toEqual([name]);
            expect(within(some, each)).toBe(true);
            const wider = joinPermissions(widest, permissions);
            expect(within(some, shown(wider, each))).toBe(true);
            expect(within(shown(widest, each), shown(wider, each))).toBe(true);
            widest = wider;
          }
        }
      });
    });
  },
);

it("attributes in the xml: namespace stay", () => {
  const document = pidf(`<tuple id="t" xml:lang="en">${BASIC}</tuple>`);
  const [tuple] = elements(shown(granted(SERVICES), document));
  expect(tuple!.attributes.some(({ uri, local }) => uri === XML && local === "lang")).toBe(true);
});
