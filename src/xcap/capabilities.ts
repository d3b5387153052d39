import { element, printXml } from "../presence/xml.ts";

const NAMESPACE = "urn:ietf:params:xml:ns:xcap-caps";

export const CAPABILITIES_AUID = "xcap-caps";
export const CAPABILITIES_TYPE = "application/xcap-caps+xml";

/** The document `xcap-caps` (RFC 4825 12), octets. */
export function printCapabilities(auids: readonly string[], namespaces: readonly string[]): string {
  const list = (name: string, of: string, values: readonly string[]) =>
    element(
      NAMESPACE,
      name,
      {},
      values.map((value) => element(NAMESPACE, of, {}, [value])),
    );
  return printXml(
    element(NAMESPACE, "xcap-caps", {}, [
      list("auids", "auid", [CAPABILITIES_AUID, ...auids]),
      list("extensions", "extension", []),
      list("namespaces", "namespace", [...new Set([NAMESPACE, "urn:ietf:params:xml:ns:xcap-error", ...namespaces])]),
    ]),
  );
}
