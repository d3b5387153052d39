import { MalformedDocument } from "../presence/xml.ts";
import { CAPABILITIES_AUID, CAPABILITIES_TYPE, printCapabilities } from "./capabilities.ts";
import { type Conflict, printConflict } from "./conflict.ts";
import { deleteNode, getNode, putNode } from "./edit.ts";
import { placesOf } from "./places.ts";
import type { XcapResource } from "./resource.ts";
import { parseSelector } from "./selector.ts";

/** What an XCAP server does with one request (RFC 4825 8), pure: from the document as it is to an answer, and what is to be written. */

/** An application usage (RFC 4825 5). */
export interface Usage {
  readonly auid: string;
  readonly type: string;
  /** Of element names without a prefix in selectors. */
  readonly namespace: string;
  /** Namespaces whose elements are understood, for xcap-caps. */
  readonly understands: readonly string[];
  /** Throws a MalformedDocument, NotUnique among them, where the document cannot be used. @param text well-formed. */
  readonly check: (text: string) => void;
}

/** Something stands twice that may stand once. */
export class NotUnique extends MalformedDocument {
  /** Selector of the second, percent-encoded, without prefixes. */
  readonly field: string;

  constructor(message: string, field: string) {
    super(message);
    this.field = field;
  }
}

/** The one document a user has of each kind (RFC 4825 6.2, RFC 5025 9.7). */
export const DOCUMENT_NAME = "index";

export interface XcapRequest {
  readonly method: "GET" | "PUT" | "DELETE";
  readonly resource: XcapResource;
  /** Without parameters, lower case; empty: none. */
  readonly contentType: string;
  /** Octets. */
  readonly body: Uint8Array;
  readonly ifMatch: EntityTags | null;
  readonly ifNoneMatch: EntityTags | null;
}

/** RFC 9110 13.1: bare tags, weak ones marked. */
export type EntityTags = "*" | readonly { readonly tag: string; readonly weak: boolean }[];

export interface Stored {
  readonly etag: string;
  readonly text: string;
}

export interface XcapAnswer {
  readonly status: number;
  readonly type?: string;
  /** Octets. */
  readonly body?: string;
  readonly allow?: string;
  /** The document's, where one stands afterwards and nothing is written. */
  readonly etag?: string;
}

export type Outcome =
  | ({ readonly done: "answer" } & XcapAnswer)
  /** On the condition that the document is still what it was; null: there is none to be afterwards. */
  | { readonly done: "write"; readonly text: string | null; readonly status: 200 | 201 };

const ELEMENT_TYPE = "application/xcap-el+xml";
const ATTRIBUTE_TYPE = "application/xcap-att+xml";
const NAMESPACES_TYPE = "application/xcap-ns+xml";

/** The global tree: what this server can (RFC 4825 12). null: there is nothing else. */
export function answerGlobal(resource: XcapResource, usages: readonly Usage[], method: string): XcapAnswer | null {
  if (resource.auid !== CAPABILITIES_AUID || resource.path.join("/") !== DOCUMENT_NAME) return null;
  if (method !== "GET") return { status: 405, allow: "GET, HEAD" };
  const octets = printCapabilities(
    usages.map((each) => each.auid),
    usages.flatMap((each) => [...each.understands]),
  );
  if (resource.node === null) return { status: 200, type: CAPABILITIES_TYPE, body: octets, etag: "1" };
  const text = Buffer.from(octets, "latin1").toString("utf8");
  return answered(nodeAnswer(resource, "urn:ietf:params:xml:ns:xcap-caps", { etag: "1", text }));
}

function answered(outcome: Outcome): XcapAnswer {
  if (outcome.done === "write") throw new TypeError("a GET writes nothing");
  return outcome;
}

/**
 * @param stored the document as it is; null: there is none.
 * @returns an answer, or what is to be written first.
 */
export function answerUser(request: XcapRequest, usage: Usage, stored: Stored | null): Outcome {
  const { method, resource } = request;
  if (resource.path.length > 1) {
    return method === "PUT"
      ? refused({ error: "no-parent", phrase: "There are no directories here.", ancestor: "" })
      : answer(404);
  }
  if (resource.path[0] !== DOCUMENT_NAME) {
    return method === "PUT"
      ? refused({ error: "constraint-failure", phrase: `A user has one document of this kind, "${DOCUMENT_NAME}".` })
      : answer(404);
  }
  return resource.node === null ? onDocument(request, usage, stored) : onNode(request, resource.node, usage, stored);
}

function onDocument(request: XcapRequest, usage: Usage, stored: Stored | null): Outcome {
  const failed = precondition(request, stored);
  if (request.method === "GET") {
    if (stored === null) return answer(404);
    return failed ?? { done: "answer", status: 200, type: usage.type, body: octets(stored.text), etag: stored.etag };
  }
  if (request.method === "DELETE") {
    if (stored === null) return failed ?? answer(404);
    return failed ?? { done: "write", text: null, status: 200 };
  }
  if (request.contentType !== usage.type) return answer(415);
  const text = unicode(request.body);
  if (text === null) return refused(NOT_UTF8);
  const conflict = wellFormed(text) ?? checked(text, usage);
  if (conflict !== null) return refused(conflict);
  return failed ?? { done: "write", text, status: stored === null ? 201 : 200 };
}

function onNode(request: XcapRequest, node: string, usage: Usage, stored: Stored | null): Outcome {
  const { method, resource } = request;
  const selector = parseSelector(node, resource.bindings, usage.namespace);
  if ("bad" in selector) return badSelector(selector);
  if (selector.terminal?.kind === "namespaces" && method !== "GET") {
    return { done: "answer", status: 405, allow: "GET, HEAD" };
  }
  if (stored === null) {
    if (method !== "PUT") return answer(404);
    return refused({ error: "no-parent", phrase: "There is no such document: put the document first.", ancestor: "" });
  }
  if (method === "GET") {
    const whole = nodeAnswer(resource, usage.namespace, stored);
    return whole.done === "answer" && whole.status === 200 ? (precondition(request, stored) ?? whole) : whole;
  }
  if (method === "DELETE") {
    const edited = deleteNode(stored.text, selector);
    if (edited.done === "nothing") return answer(404);
    if (edited.done === "conflict") return refused(edited.conflict);
    return precondition(request, stored) ?? written(edited.text, 200, usage);
  }
  if (request.contentType !== (selector.terminal === null ? ELEMENT_TYPE : ATTRIBUTE_TYPE)) return answer(415);
  const body = unicode(request.body);
  if (body === null) return refused(NOT_UTF8);
  const edited = putNode(stored.text, selector, body);
  if (edited.done === "conflict") return refused(edited.conflict);
  if (edited.done === "nothing") return answer(404);
  return precondition(request, stored) ?? written(edited.text, edited.created ? 201 : 200, usage);
}

function nodeAnswer(resource: XcapResource, namespace: string, stored: Stored): Outcome {
  const selector = parseSelector(resource.node ?? "", resource.bindings, namespace);
  if ("bad" in selector) return badSelector(selector);
  const node = getNode(stored.text, selector);
  if (node === null) return answer(404);
  const type = { element: ELEMENT_TYPE, attribute: ATTRIBUTE_TYPE, namespaces: NAMESPACES_TYPE }[node.kind];
  return { done: "answer", status: 200, type, body: octets(node.text), etag: stored.etag };
}

function badSelector(
  selector: { readonly bad: "unknown" } | { readonly bad: "prefix"; readonly prefix: string },
): Outcome {
  if (selector.bad === "unknown") return answer(404);
  const body = `The prefix "${selector.prefix}" is bound by no xmlns() of the query.\n`;
  return { done: "answer", status: 400, type: "text/plain", body: octets(body) };
}

function written(text: string, status: 200 | 201, usage: Usage): Outcome {
  const conflict = checked(text, usage);
  return conflict === null ? { done: "write", text, status } : refused(conflict);
}

/** RFC 9110 13.2.2; the tag is the document's, whatever is asked of it (RFC 4825 8.2.6). null: it holds. */
function precondition({ method, ifMatch, ifNoneMatch }: XcapRequest, stored: Stored | null): Outcome | null {
  if (ifMatch !== null) {
    const holds =
      stored !== null && (ifMatch === "*" || ifMatch.some((each) => !each.weak && each.tag === stored.etag));
    if (!holds) return { done: "answer", status: 412, ...(stored === null ? {} : { etag: stored.etag }) };
  }
  if (ifNoneMatch === null || stored === null) return null;
  if (ifNoneMatch !== "*" && !ifNoneMatch.some((each) => each.tag === stored.etag)) return null;
  return { done: "answer", status: method === "GET" ? 304 : 412, etag: stored.etag };
}

const NOT_UTF8: Conflict = { error: "not-utf-8", phrase: "The body is not in UTF-8." };

function unicode(body: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return null;
  }
}

function wellFormed(text: string): Conflict | null {
  const encoding = /^<\?xml[^>]*?encoding\s*=\s*["']([^"']*)/.exec(text)?.[1];
  if (encoding !== undefined && !/^(?:utf-8|us-ascii)$/i.test(encoding)) {
    return { error: "not-utf-8", phrase: `The document says that it is in ${encoding.slice(0, 40)}.` };
  }
  try {
    placesOf(text);
    return null;
  } catch (error) {
    if (error instanceof MalformedDocument) return { error: "not-well-formed", phrase: error.message };
    throw error;
  }
}

function checked(text: string, usage: Usage): Conflict | null {
  try {
    usage.check(text);
    return null;
  } catch (error) {
    if (error instanceof NotUnique) return { error: "uniqueness-failure", phrase: error.message, field: error.field };
    if (error instanceof MalformedDocument) return { error: "schema-validation-error", phrase: error.message };
    throw error;
  }
}

function octets(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

function answer(status: number): Outcome {
  return { done: "answer", status };
}

function refused(conflict: Conflict): Outcome {
  return { done: "answer", status: 409, type: "application/xcap-error+xml", body: printConflict(conflict) };
}
