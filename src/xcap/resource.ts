/** What the path and query of an XCAP request name (RFC 4825 6). */

export interface XcapResource {
  readonly auid: string;
  readonly tree: "users" | "global";
  /** XCAP User Identifier, decoded; empty in the global tree. */
  readonly xui: string;
  /** Path segments behind that, decoded: directories and the document's name. */
  readonly path: readonly string[];
  /** Node selector, decoded; null: the document itself. */
  readonly node: string | null;
  /** The path of the document as it was written, behind the root. */
  readonly document: string;
  /** Prefixes bound in the query. */
  readonly bindings: ReadonlyMap<string, string>;
}

const MOST_BINDINGS = 64;
/** `/~~/`, an encoded tilde being one, too (RFC 3986 6.2.2.2). */
const SEPARATOR = /\/(?:~|%7e){2}\//i;

/**
 * @param target path and query behind the XCAP root, as they were sent: `/pres-rules/users/…?xmlns(…)`.
 * @returns null: it names nothing here.
 */
export function parseResource(target: string): XcapResource | null {
  const question = target.indexOf("?");
  const path = question < 0 ? target : target.slice(0, question);
  // RFC 4825 8: split at the first separator.
  const separator = SEPARATOR.exec(path);
  const document = path.slice(0, separator?.index);
  const node = separator === null ? null : path.slice(separator.index + separator[0].length);
  const segments = document.split("/").slice(1).map(decoded);
  if (segments.some((each) => each === null || each === "" || each === "." || each === "..")) return null;
  const [auid, tree, ...rest] = segments as string[];
  if (auid === undefined || (tree !== "users" && tree !== "global")) return null;
  const selector = node === null ? null : decoded(node);
  if (node !== null && (selector === null || selector === "")) return null;
  const xui = tree === "users" ? rest.shift() : "";
  if (xui === undefined || rest.length === 0) return null;
  return {
    auid,
    tree,
    xui,
    path: rest,
    node: selector,
    document,
    bindings: bindingsOf(question < 0 ? "" : target.slice(question + 1)),
  };
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** One expression; `^` escapes (XPointer framework 3.1). */
const EXPRESSION = /\s*([\w.:-]+)\(((?:[^()^]|\^.|\([^()]*\))*)\)/sy;

/** RFC 4825 6.4: `xmlns()` of XPointer; what is of another scheme is passed over. */
function bindingsOf(query: string): ReadonlyMap<string, string> {
  const bindings = new Map<string, string>();
  const text = decoded(query) ?? "";
  EXPRESSION.lastIndex = 0;
  for (let each = EXPRESSION.exec(text); each !== null && bindings.size < MOST_BINDINGS; each = EXPRESSION.exec(text)) {
    const [, scheme, data] = each;
    const pair = scheme === "xmlns" ? /^\s*([^\s=:]+)\s*=\s*(.*)$/s.exec(data!.replaceAll(/\^(.)/gs, "$1")) : null;
    if (pair !== null && !bindings.has(pair[1]!)) bindings.set(pair[1]!, pair[2]!);
  }
  return bindings;
}
