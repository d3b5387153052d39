import fc from "fast-check";
import { DATA_MODEL_NAMESPACE, PIDF_NAMESPACE, RPID_NAMESPACE } from "../../src/presence/pidf.ts";
import { element, type XmlElement } from "../../src/presence/xml.ts";

const GEOPRIV = "urn:ietf:params:xml:ns:pidf:geopriv10";
const text = fc.constantFrom("x", "biz", "home", "");
const id = fc.constantFrom("t1", "t2", "a");

const rpid = fc
  .record({
    local: fc.constantFrom(
      "activities",
      "mood",
      "place-is",
      "privacy",
      "relationship",
      "sphere",
      "status-icon",
      "service-class",
    ),
    text,
  })
  .map((each) =>
    element(RPID_NAMESPACE, each.local, { from: "2026" }, [element(RPID_NAMESPACE, "note", {}, [each.text])]),
  );

const userInput = fc.constant(
  element(RPID_NAMESPACE, "user-input", { "idle-threshold": "600", since: "2026", "last-input": "2026", id: "u" }, [
    "idle",
  ]),
);
const location = text.map((each) => element(GEOPRIV, "geopriv", {}, [element("urn:example:place", "at", {}, [each])]));
const unknown = fc
  .record({ local: fc.constantFrom("e", "f"), text })
  .map((each) => element("urn:example:unknown", each.local, {}, [each.text]));
const className = fc.constantFrom("biz", "home").map((each) => element(RPID_NAMESPACE, "class", {}, [each]));
const deviceId = fc
  .constantFrom("urn:device:1", "urn:device:2")
  .map((each) => element(DATA_MODEL_NAMESPACE, "deviceID", {}, [each]));
const note = (uri: string) => text.map((each) => element(uri, "note", {}, [each]));
const timestamp = (uri: string) => fc.constant(element(uri, "timestamp", {}, ["2026-01-01T00:00:00Z"]));

const tuple = fc
  .record({
    id,
    basic: fc.constantFrom("open", "closed"),
    status: fc.array(fc.oneof(location, unknown), { maxLength: 1 }),
    inner: fc.array(fc.oneof(className, deviceId, rpid, userInput, unknown, location), { maxLength: 4 }),
    contact: fc.constantFrom("sip:alice@example.com", "mailto:alice@example.com", "sip:alice@home.example.com"),
    end: fc.array(fc.oneof(note(PIDF_NAMESPACE), timestamp(PIDF_NAMESPACE)), { maxLength: 2 }),
  })
  .map((each) =>
    element(PIDF_NAMESPACE, "tuple", { id: each.id }, [
      element(PIDF_NAMESPACE, "status", {}, [element(PIDF_NAMESPACE, "basic", {}, [each.basic]), ...each.status]),
      ...each.inner,
      element(PIDF_NAMESPACE, "contact", { priority: "0.5" }, [each.contact]),
      ...each.end,
    ]),
  );

const data = fc
  .record({
    id,
    local: fc.constantFrom("person", "device"),
    inner: fc.array(
      fc.oneof(
        className,
        deviceId,
        rpid,
        userInput,
        unknown,
        note(DATA_MODEL_NAMESPACE),
        timestamp(DATA_MODEL_NAMESPACE),
      ),
      { maxLength: 5 },
    ),
  })
  .map((each) => element(DATA_MODEL_NAMESPACE, each.local, { id: each.id }, each.inner));

/** Generated presence documents with all that RFC 5025 has permissions for, and with what it has none for. */
export function richDocuments(): fc.Arbitrary<XmlElement> {
  return fc
    .array(fc.oneof({ weight: 3, arbitrary: tuple }, { weight: 3, arbitrary: data }, note(PIDF_NAMESPACE), unknown), {
      maxLength: 5,
    })
    .map((elements) => element(PIDF_NAMESPACE, "presence", { entity: "pres:alice@example.com" }, elements));
}
