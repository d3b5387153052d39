import { canonicalForm } from "./canonical.ts";
import { entityOf, PIDF_NAMESPACE } from "./pidf.ts";
import { attributeNamed, element, isElement, MalformedDocument, parseXml, XML_LIMITS, type XmlElement } from "./xml.ts";
import { applyPatch, type Patch } from "./xml-patch.ts";
import type { ExpandedName } from "./xml-select.ts";

/** Partial presence, `application/pidf-diff+xml` (RFC 5262), and how a subscriber keeps the whole by it (RFC 5263 4.5). */
export const PIDF_DIFF_TYPE = "application/pidf-diff+xml";
export const PIDF_DIFF_NAMESPACE = "urn:ietf:params:xml:ns:pidf-diff";
/** None that a text would take for its own. */
const PREFIX = "pidf-diff";

/** Of one document at most; who changes more sends the whole. */
export const MOST_PATCHES = 256;

export type PresenceUpdate =
  /** `presence`: with a `presence` element for root, as if it had come as `application/pidf+xml`. */
  | { readonly kind: "full"; readonly version: number | null; readonly presence: XmlElement }
  | {
      readonly kind: "diff";
      readonly version: number | null;
      readonly entity: string | undefined;
      readonly patches: readonly Patch[];
    };

/** @throws MalformedDocument */
export function parsePidfDiff(octets: string): PresenceUpdate {
  const root = parseXml(octets);
  const version = versionOf(root);
  if (isNamed(root, PIDF_DIFF_NAMESPACE, "pidf-full")) {
    const attributes = root.attributes.filter(({ uri, local }) => uri !== "" || local !== "version");
    const presence = { ...root, uri: PIDF_NAMESPACE, local: "presence", prefix: prefixFor(root), attributes };
    return { kind: "full", version, presence };
  }
  if (!isNamed(root, PIDF_DIFF_NAMESPACE, "pidf-diff"))
    throw new MalformedDocument("It is no partial presence document.");
  const patches: Patch[] = [];
  for (const operation of root.children) {
    if (!isElement(operation)) continue;
    const scope = new Map([...(root.declared ?? []), ...(operation.declared ?? [])]);
    patches.push({ operation, scope });
  }
  if (patches.length > MOST_PATCHES) throw new MalformedDocument(`It has more than ${MOST_PATCHES} patches.`);
  return { kind: "diff", version, entity: entityOf(root), patches };
}

/** Of one subscription. */
export interface PartialPresence {
  /** Of the last document; null: it said none, and only the NOTIFYs' CSeqs order them. */
  readonly version: number | null;
  readonly presence: XmlElement;
}

export type Updated =
  | { readonly outcome: "applied"; readonly state: PartialPresence }
  /** An older one, or the same again. */
  | { readonly outcome: "discarded" }
  /** One before it was lost, or it does not fit: the whole is to be asked for by a refresh, and until then is as it was. */
  | { readonly outcome: "refresh"; readonly why: string };

/** @param state null: nothing has come yet. */
export function updatePresence(state: PartialPresence | null, update: PresenceUpdate): Updated {
  const { version } = update;
  const known = state?.version ?? null;
  if (known !== null && version !== null && version <= known) return { outcome: "discarded" };
  if (update.kind === "full") return { outcome: "applied", state: { version, presence: update.presence } };
  if (state === null) return { outcome: "refresh", why: "the whole has not come yet" };
  if (known !== null && version !== null && version > known + 1) return { outcome: "refresh", why: "one was lost" };
  const { entity } = update;
  if (entity !== undefined && entity !== entityOf(state.presence)) return { outcome: "refresh", why: "another entity" };
  try {
    const presence = update.patches.reduce((root, each) => applyPatch(root, each, isRoot), state.presence);
    checkSize(presence);
    return { outcome: "applied", state: { version: version ?? known, presence } };
  } catch (error) {
    if (!(error instanceof MalformedDocument)) throw error;
    return { outcome: "refresh", why: error.message };
  }
}

/** RFC 5262 6 calls the root `presence` where a `pidf-full` was sent. */
function isRoot(_: XmlElement, { uri, local }: ExpandedName): boolean {
  return (uri === PIDF_NAMESPACE && local === "presence") || (uri === PIDF_DIFF_NAMESPACE && local === "pidf-full");
}

/** What grows by patches has the limits of what is read. */
function checkSize(presence: XmlElement): void {
  let elements = 0;
  let characters = 0;
  const visit = (each: XmlElement, depth: number): void => {
    if (depth > XML_LIMITS.depth) throw new MalformedDocument("It is nested too deep.");
    elements++;
    for (const { value } of each.attributes) characters += value.length;
    for (const child of each.children) {
      if (isElement(child)) visit(child, depth + 1);
      else characters += child.length;
    }
  };
  visit(presence, 1);
  if (elements > XML_LIMITS.elements || characters > XML_LIMITS.octets)
    throw new MalformedDocument("It grows too big.");
}

/** As RFC 5263 4.4 has it sent first, and wherever a difference would not be smaller. */
export function fullPresence(presence: XmlElement, version: number): XmlElement {
  const attributes = [...presence.attributes, ...element("", "", { version }).attributes];
  const declared = new Map([...(presence.declared ?? []), [PREFIX, PIDF_DIFF_NAMESPACE] as const]);
  return { ...presence, uri: PIDF_DIFF_NAMESPACE, local: "pidf-full", prefix: PREFIX, attributes, declared };
}

/**
 * What makes `after` of `before`: elements of the root taken away and put in whole, whatever in them has changed.
 * @returns null where that cannot say it: their roots differ, or it would take too much.
 */
export function diffPresence(before: XmlElement, after: XmlElement, version: number): XmlElement | null {
  if (canonicalForm({ ...before, children: [] }) !== canonicalForm({ ...after, children: [] })) return null;
  const old = before.children.filter(isElement);
  const now = after.children.filter(isElement);
  if (old.length * now.length > MOST_COMPARED) return null;
  const kept = commonForms(old.map(canonicalForm), now.map(canonicalForm));
  const patches: XmlElement[] = [];
  for (let at = old.length - 1; at >= 0; at--) {
    if (!kept.old.has(at)) patches.push(patch("remove", { sel: `*/*[${at + 1}]` }, []));
  }
  for (const [at, each] of now.entries()) {
    if (kept.now.has(at)) continue;
    const place = at === 0 ? { sel: "*", pos: "prepend" } : { sel: `*/*[${at}]`, pos: "after" };
    patches.push(patch("add", place, [each]));
  }
  if (patches.length > MOST_PATCHES) return null;
  const root = patch("pidf-diff", { entity: entityOf(after) ?? null, version }, patches);
  return { ...root, declared: new Map([...(after.declared ?? []), [PREFIX, PIDF_DIFF_NAMESPACE] as const]) };
}

function patch(local: string, attributes: Readonly<Record<string, string | number | null>>, children: XmlElement[]) {
  return { ...element(PIDF_DIFF_NAMESPACE, local, attributes, children), prefix: PREFIX };
}

const MOST_COMPARED = 1_000_000;

/** Indices of what both have, in the order of both: as many as can be. */
function commonForms(a: readonly string[], b: readonly string[]): { old: Set<number>; now: Set<number> } {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i]![j] = a[i] === b[j] ? lengths[i + 1]![j + 1]! + 1 : Math.max(lengths[i + 1]![j]!, lengths[i]![j + 1]!);
    }
  }
  const old = new Set<number>();
  const now = new Set<number>();
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      old.add(i++);
      now.add(j++);
    } else if (lengths[i + 1]![j]! >= lengths[i]![j + 1]!) i++;
    else j++;
  }
  return { old, now };
}

function versionOf(root: XmlElement): number | null {
  const text = attributeNamed(root, "version")?.trim();
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : null;
}

function isNamed(root: XmlElement, uri: string, local: string): boolean {
  return root.uri === uri && root.local === local;
}

function prefixFor({ declared }: XmlElement): string {
  for (const [prefix, uri] of declared ?? []) if (uri === PIDF_NAMESPACE) return prefix;
  return "";
}
