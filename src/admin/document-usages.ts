import type { DocumentKind } from "../directory/user-documents.ts";
import { checkRouting, ROUTING_NAMESPACE, ROUTING_TYPE } from "../federation/routing-document.ts";
import { checkRules, type RulesKind } from "../policy/check-rules.ts";
import { COMMON_POLICY_NAMESPACE, isCommon, RULES_TYPE } from "../policy/common-policy.ts";
import { IM_RULES_NAMESPACE } from "../policy/im-rules.ts";
import { PRES_RULES_NAMESPACE } from "../policy/pres-rules.ts";
import { attributeNamed, MalformedDocument } from "../presence/xml.ts";
import { NotUnique, type Usage } from "../xcap/answer.ts";
import { placesOf } from "../xcap/places.ts";

/** The kinds of documents as XCAP application usages (RFC 4825 5). */
export const USAGES: Readonly<Record<DocumentKind, Usage>> = {
  // RFC 5025 9.
  "pres-rules": rules("pres-rules", PRES_RULES_NAMESPACE),
  "im-rules": rules("im-rules", IM_RULES_NAMESPACE),
  "im-routing": {
    auid: "im-routing",
    type: ROUTING_TYPE,
    namespace: ROUTING_NAMESPACE,
    understands: [ROUTING_NAMESPACE],
    check: checkRouting,
  },
};

function rules(kind: RulesKind, namespace: string): Usage {
  return {
    auid: kind,
    type: RULES_TYPE,
    namespace,
    understands: [COMMON_POLICY_NAMESPACE, namespace],
    check: (text) => {
      checkIds(text);
      const fault = checkRules(kind, text).find((each) => each.severity === "error");
      if (fault === undefined) return;
      throw new MalformedDocument(fault.rule === "" ? fault.message : `Rule ${fault.rule}: ${fault.message}`);
    },
  };
}

/** RFC 4745 6.1. */
function checkIds(text: string): void {
  const ids = new Set<string>();
  for (const [index, { element }] of placesOf(text).children.entries()) {
    const id = isCommon(element, "rule") ? attributeNamed(element, "id") : undefined;
    if (id === undefined) continue;
    if (ids.has(id)) throw new NotUnique(`Two rules have the id ${id}.`, `*/*%5B${index + 1}%5D/@id`);
    ids.add(id);
  }
}

export function usageOf(auid: string): { readonly kind: DocumentKind; readonly usage: Usage } | undefined {
  return isKind(auid) ? { kind: auid, usage: USAGES[auid] } : undefined;
}

function isKind(text: string): text is DocumentKind {
  return Object.hasOwn(USAGES, text);
}
