import { element, printXml, type XmlNode } from "../presence/xml.ts";

/** Why a change is not made (RFC 4825 11): the elements of an `xcap-error` document, answered with 409. */
export type Conflict = {
  /** For people. */
  readonly phrase: string;
} & (
  | {
      readonly error:
        | "not-well-formed"
        | "not-xml-frag"
        | "not-xml-att-value"
        | "not-utf-8"
        | "schema-validation-error"
        | "constraint-failure"
        | "cannot-insert"
        | "cannot-delete";
    }
  /** `ancestor`: URI, relative to the document, of the closest parent there is; empty: not told. */
  | { readonly error: "no-parent"; readonly ancestor: string }
  /** `field`: node selector of what is not unique, percent-encoded. */
  | { readonly error: "uniqueness-failure"; readonly field: string }
);

const NAMESPACE = "urn:ietf:params:xml:ns:xcap-error";

/** Octets of the document. */
export function printConflict(conflict: Conflict): string {
  const inner: XmlNode[] = [];
  if (conflict.error === "no-parent" && conflict.ancestor !== "") {
    inner.push(element(NAMESPACE, "ancestor", {}, [conflict.ancestor]));
  }
  if (conflict.error === "uniqueness-failure") inner.push(element(NAMESPACE, "exists", { field: conflict.field }));
  const error = element(NAMESPACE, conflict.error, { phrase: conflict.phrase }, inner);
  return printXml(element(NAMESPACE, "xcap-error", {}, [error]));
}
